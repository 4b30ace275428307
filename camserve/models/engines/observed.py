"""A body and its head as one module, for conversion by other libraries."""

from torch import Tensor, fx, nn

from camserve.errors import EngineError
from camserve.models.engines.torch_engine import TorchEngine


class Observed(nn.Module):
    """images -> (activations, *carried, logits). Raises EngineError if the graph of the body is unknown."""

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        if not isinstance(engine.body, fx.GraphModule):
            raise EngineError("its graph is not known")
        self.body, self.head = engine.body, engine.head.module

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, c, H, W) -> (N, K, h, w), the other inputs of the head, (N, C). Raises EngineError."""
        activations, carried = self.body(images)
        if not all(isinstance(value, Tensor) for value in carried):
            raise EngineError("its head needs inputs from before the layer that are not tensors")
        return activations, *carried, self.head(activations, *carried)
