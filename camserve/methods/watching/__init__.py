"""Observe a network while it runs: its modules, attention, ReLUs and biases. No state outlives a call.

modules_run.py         which module runs, and its output
attention_weights.py   the weights of every attention, however it is written
fused_attention.py     torch's fused attention computed step by step
transformer_blocks.py  the blocks of a transformer after which its classifier can be applied
rectifiers.py          the ReLUs, found in the graph of autograd
biases.py              what convolutions and batch norms add to every input
"""
