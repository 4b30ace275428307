"""The engines that run a network: images in; activations, logits and class maps out, without autograd.

engine.py           START HERE: the interface of engines, and which engine a layer gets
torch_engine.py     on torch: channels last, batch normalisation folded
half_precision.py   on torch in bfloat16
pointwise.py        1 x 1 convolutions as matrix products, for autograd
openvino_engine.py  on OpenVINO
onnxruntime_engine.py  on onnxruntime
observed.py         a body and its head as one module, for conversion by other libraries
kept_models.py      a cache of converted models on disk
compiled_model.py   a compiled OpenVINO model that any number of threads may call; no torch
frequent_shapes.py  separate graphs for frequent input shapes; no torch
converted.py        from a torch module to a compiled OpenVINO model, with a cache on disk
quantising.py       a converted network in 8-bit integers; runs as its own process
same_upper.py       SAME padding inside the convolution
openvino_quietly.py  OpenVINO, without its telemetry
"""
