"""Files of weights: read without running code in them, and put into a network.

checkpoints.py  the tensors of a weights file, by name
pickled.py      files of torch.save, read without running code in them
state_dicts.py  whether weights fit a network
own_heads.py    heads that users put in the place of an architecture's own
"""
