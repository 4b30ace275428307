"""The network on OpenVINO: one graph with three kinds of results, and another for the class maps."""

import threading
from pathlib import Path

from torch import Tensor, fx, nn

from camserve.config.schema import Compute
from camserve.errors import EngineError
from camserve.graph.heads import Carried, LinearHead
from camserve.graph.original.agreement import TOLERANCE
from camserve.models.engines.converted import Compiled, Converter
from camserve.models.engines.torch_engine import TorchEngine
from camserve.system.cores import granted_cores

# How far a map's account of a logit may be from the logit, as a share of it: in bfloat16, numbers are 0.4 % apart, and
# the embedded model's differ by up to 2 % (test_engines.py).
TOLERANCES = {"float32": TOLERANCE, "bfloat16": 0.05}


class OpenVinoEngine:
    """What a TorchEngine runs, converted; its autograd stays on torch, and so do changed activations.

    torch_engine: what to convert. any_size: whether inputs of any size may come; else only those of `example`,
    (c, w, h). Raises EngineError where the network cannot be converted.
    """

    name = "openvino"

    def __init__(
        self, torch_engine: TorchEngine, compute: Compute, *, any_size: bool, example: tuple[int, int, int]
    ) -> None:
        if not isinstance(torch_engine.body, fx.GraphModule):
            raise EngineError("its graph is not known")
        self._torch = torch_engine
        self.precision, self.tolerance = compute.precision, TOLERANCES[compute.precision]
        workers = compute.workers or granted_cores()
        cache = Path(compute.cache).expanduser() if compute.cache else None
        self._converter = Converter(cache, workers, compute.threads, compute.precision, example, any_size=any_size)
        self._observed = self._converter.compiled(_Observed(torch_engine))
        self._maps: Compiled | None = None
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, Carried, Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), what the head needs besides, and logits (N, C)."""
        activations, *carried, logits = self._observed(images)
        return activations, tuple(carried), logits

    def class_maps(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w): a 1x1 convolution inside the graph."""
        head = self._torch.head
        if not isinstance(head, LinearHead):  # the activations themselves, or an error that says why there is none
            return head.class_maps(self(images)[0])
        with self._lock:
            if self._maps is None:
                self._maps = self._converter.compiled(_ClassMaps(self._torch.body, head))
        (maps,) = self._maps(images)
        return maps


class _Observed(nn.Module):
    """images -> (activations, *carried, logits)."""

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.body, self.head = engine.body, engine.head.module

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, c, H, W) -> (N, K, h, w), whatever else the head needs, (N, C). Raises EngineError."""
        activations, carried = self.body(images)
        if not all(isinstance(value, Tensor) for value in carried):
            raise EngineError("its head needs more than tensors from before the layer")
        return activations, *carried, self.head(activations, *carried)


class _ClassMaps(nn.Module):
    """images -> the class maps of a linear head."""

    def __init__(self, body: nn.Module, head: LinearHead) -> None:
        super().__init__()
        self.body, self.classifier = body, head.as_convolution()

    def forward(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> (N, C, h, w)."""
        maps: Tensor = self.classifier(self.body(images)[0])
        return maps
