"""Files of weights: read without running anything in them, and put into a network.

checkpoints.py  the tensors of a weights file, by name
pickled.py      what torch.save wrote, read without running anything in it
state_dicts.py  whether weights fit a network
own_heads.py    heads that users put in place of an architecture's own
"""
