"""Who runs the network: images in; activations, logits and class maps out, without autograd.

engine.py           START HERE: what a layer asks of an engine, and which engine it gets
torch_engine.py     on torch: channels last, batch normalisation folded
half_precision.py   on torch in bfloat16
pointwise.py        1 x 1 convolutions as matrix products, for autograd
openvino_engine.py  on OpenVINO
onnxruntime_engine.py  on onnxruntime
observed.py         a body and its head as one module, which other libraries convert
kept_models.py      converted models kept on disk
compiled_model.py   a compiled OpenVINO model that any number of threads may call; no torch
frequent_shapes.py  graphs for the shapes of input that come often; no torch
converted.py        from a torch module to a compiled OpenVINO model, kept on disk
quantising.py       a converted network in 8-bit integers: a program of its own
same_upper.py       SAME padding as the convolution's own
openvino_quietly.py  OpenVINO itself, which reports nothing
"""
