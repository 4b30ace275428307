"""A network watched while it runs: its modules, its attention, its ReLUs and its biases. No state outlives a call.

modules_run.py         which module is at work, and what it gives
attention_weights.py   what every attention weighs, whichever way it is written
fused_attention.py     torch's fused attention worked out step by step
transformer_blocks.py  the blocks of a transformer that can be read out as its last one is
rectifiers.py          the ReLUs, found in the graph that autograd keeps
biases.py              what convolutions and batch norms add whatever their input
"""
