"""Compute receptive fields through a traced network: which input pixels can affect a cell of a feature map.

walk.py   START HERE: the fields of every feature map, at one size of the input
rules.py  how each kind of operation changes the receptive fields
moves.py  the rules of operations that move values without computing
step.py   the data that travels along the graph, and the description of an operation for its rule
"""
