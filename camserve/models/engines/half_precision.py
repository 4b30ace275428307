"""A network's body on torch in bfloat16, channels last, its head in float32: for devices with fast bfloat16."""

import copy

import torch

from camserve.errors import EngineError, first_line
from camserve.graph.heads import Carried
from camserve.graph.original.agreement import TOLERANCE
from camserve.models.engines.torch_engine import TorchEngine


class HalfPrecisionEngine:
    """Runs the body of a TorchEngine in bfloat16; autograd stays in float32.

    Activations become float32 before the head, so maps add up to logits as in float32. Raises EngineError if
    the body cannot be converted to bfloat16.
    """

    name, precision, tolerance = "torch", "bfloat16", TOLERANCE

    def __init__(self, torch_engine: TorchEngine) -> None:
        self._exact = torch_engine
        try:
            self._body = copy.deepcopy(torch_engine.body).to(torch.bfloat16)
        except Exception as error:  # the module is foreign code
            raise EngineError(f"it cannot be converted to bfloat16: {first_line(error)}") from None

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), the other inputs of the head, and logits (N, C), in float32."""
        layout = torch.channels_last if self._exact.channels_last else torch.contiguous_format
        with torch.no_grad():
            found, carried = self._body(images.to(torch.bfloat16, memory_format=layout))
        activations, others = _widened(found), tuple(map(_widened, carried))
        return activations, others, self._exact.head.logits(activations, others)

    def class_maps(self, images: torch.Tensor) -> torch.Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w). Raises OptionError."""
        return self._exact.head.class_maps(self(images)[0])

    def forget_sizes(self) -> None:
        """As in `Engine`: torch caches nothing."""


def _widened(value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise EngineError("its head needs inputs from before the layer that are not tensors")
    return value.float() if value.is_floating_point() else value
