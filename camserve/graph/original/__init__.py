"""The network as its user calls it, and checks that networks made from it give the same answers.

given.py          calls the network as its user does, and finds out its properties
state.py          the state of a module besides its weights
answer_parts.py   the parts of an answer, and which part is explained
logits.py         where the logits are in a network's answer
of_places.py      segmentation and detection: turns their answers into one score for each class
probabilities.py  networks that end in a softmax or a sigmoid: the logits before it
agreement.py      the difference between two answers, relative to their spread
guard.py          checks every network that was made from the user's network
"""
