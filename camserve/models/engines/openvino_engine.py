"""The network on OpenVINO: one graph for activations and logits, and another for the class maps."""

import threading
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from camserve.config.schema import Compute
from camserve.errors import first_line
from camserve.graph.heads import Carried, LinearHead
from camserve.models.compiled.closed import TOLERANCES
from camserve.models.engines.compiled_model import Compiled
from camserve.models.engines.converted import Converter
from camserve.models.engines.observed import Observed
from camserve.models.engines.torch_engine import TorchEngine
from camserve.models.inputs.calibration_photos import Calibration
from camserve.system.cores import granted_cores

# Most input sizes to remember that a network refuses; a network refuses only the smallest sizes.
_REMEMBERED = 1000


class OpenVinoEngine:
    """Runs the network of a TorchEngine in OpenVINO. Autograd, and the head on changed activations, stay on torch.

    observed: the compiled model, images -> activations, other inputs of the head, and logits.

    torch_engine: what to convert. any_size: whether inputs may have any size; else only that of `example`,
    (c, w, h). calibration: for int8. Raises EngineError if the network cannot be converted, and ConfigError.
    """

    name = "openvino"

    def __init__(
        self,
        torch_engine: TorchEngine,
        compute: Compute,
        *,
        any_size: bool,
        example: tuple[int, int, int],
        calibration: Calibration | None = None,
    ) -> None:
        self._torch, observed = torch_engine, Observed(torch_engine)
        self.precision, self.tolerance = compute.precision, TOLERANCES[compute.precision]
        workers = compute.workers or granted_cores()
        cache = Path(compute.cache).expanduser() if compute.cache else None
        self._converter = Converter(
            cache, workers, compute.threads, compute.precision, example, any_size=any_size, calibration=calibration
        )
        self.observed = self._converter.compiled(observed)
        self._maps: Compiled | None = None
        self._refused = set[tuple[int, ...]]()
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, Carried, Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), the other inputs of the head, and logits (N, C)."""
        activations, *carried, logits = self._run(self.observed, images)
        return activations, tuple(carried), logits

    def _run(self, compiled: Compiled, images: Tensor) -> list[Tensor]:
        """Run a compiled model. After OpenVINO has failed at one size it may fail at any other: compile it again.

        If torch fails at this size, too, the size is remembered and never given to OpenVINO again. Raises RuntimeError
        with torch's message.
        """
        size = tuple(images.shape[1:])
        if size not in self._refused:
            with suppress(RuntimeError):
                return _called(compiled, images)
        try:
            self._torch(images)
        except MemoryError:
            raise
        except Exception as error:
            if len(self._refused) < _REMEMBERED:
                self._refused.add(size)
            raise RuntimeError(first_line(error)) from None
        compiled.renew()
        return _called(compiled, images)

    def class_maps(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w): a 1x1 convolution inside the graph."""
        head = self._torch.head
        # In int8 there is one calibrated graph, whose classifier stays in float. Other heads: `class_maps` returns
        # maps, or raises an error that says why there are none.
        if self.precision == "int8" or not isinstance(head, LinearHead):
            return head.class_maps(self(images)[0])
        with self._lock:
            if self._maps is None:
                self._maps = self._converter.compiled(_ClassMaps(self._torch.body, head))
        (maps,) = self._run(self._maps, images)
        return maps

    def forget_sizes(self) -> None:
        """As in `Engine`."""
        for compiled in (self.observed, self._maps):
            if compiled is not None:
                compiled.forget_sizes()


def _called(compiled: Compiled, images: Tensor) -> list[Tensor]:
    return [torch.from_numpy(one) for one in compiled(images.detach().numpy())]


class _ClassMaps(nn.Module):
    """images -> the class maps of a linear head."""

    def __init__(self, body: nn.Module, head: LinearHead) -> None:
        super().__init__()
        self.body, self.classifier = body, head.as_convolution()

    def forward(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> (N, C, h, w)."""
        maps: Tensor = self.classifier(self.body(images)[0])
        return maps
