"""What a network is made of, what it costs, and what it takes.

summary.py          START HERE: all that is known of a network without a photograph
operation.py        one operation of a traced network
operation_names.py  what an operation is, in words
cost.py             what an operation costs, in multiply-adds
layer_costs.py      what each layer gives and costs, in the order of the graph
hooked_layers.py    the same of a network that torch.fx cannot trace
blocks.py           a network in a few rows
separable.py        what depthwise separable convolutions save
sizes.py            which input sizes a network takes
head_facts.py       what a kind of head means for the one who asks
words.py            an inspection in sentences and short figures
"""
