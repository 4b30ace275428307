"""The blocks, the costs and the input sizes of a network.

summary.py          START HERE: all facts about a network that need no photograph
operation.py        one operation of a traced network
operation_names.py  names of operations, in words
cost.py             the cost of an operation, in multiply-adds
layer_costs.py      output and cost of each layer, in the order of the graph
hooked_layers.py    the same for a network that torch.fx cannot trace
blocks.py           a network in a few rows
separable.py        how much depthwise separable convolutions save
sizes.py            which input sizes a network takes
head_facts.py       what each kind of head means for explanations
words.py            an inspection in sentences and short figures
"""
