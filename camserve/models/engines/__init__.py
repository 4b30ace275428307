"""Who runs the network: images in; activations, logits and class maps out, without autograd.

engine.py           START HERE: what a layer asks of an engine, and which engine it gets
torch_engine.py     on torch: channels last, batch normalisation folded
openvino_engine.py  on OpenVINO
converted.py        from a torch module to a compiled OpenVINO model, kept on disk
"""
