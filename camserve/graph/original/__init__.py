"""The network as its user calls it, and whether what was made of it still answers as it does.

given.py          the network called as its user calls it, on what it is asked at first
state.py          what a module holds besides its weights
answer_parts.py   the parts of an answer that could be explained, and which of them is
logits.py         where the logits are in what a network answers with
of_places.py      segmentation and detection: their answers as one score a class
probabilities.py  networks that end in a softmax or a sigmoid: the logits before it
agreement.py      how far two answers are apart, in the unit in which a difference means something
guard.py          nothing that was made of a network runs unchecked
"""
