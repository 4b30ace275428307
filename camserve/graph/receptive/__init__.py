"""Which pixels of the input a cell of a feature map can have seen, through a traced network.

walk.py   START HERE: the fields of every feature map, at one size of the input
rules.py  how each operation passes on what its input has seen
moves.py  the rules of operations that move values without computing
step.py   what travels along the graph, and what a rule is told about one operation
"""
