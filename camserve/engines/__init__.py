"""Who runs the body of a model: images in, activations out, without autograd."""

from camserve.engines.torch_engine import TorchEngine

__all__ = ["TorchEngine"]
