"""The network on onnxruntime: body and head exported as one ONNX graph, which gives activations and logits."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camserve.config.schema import Compute
from camserve.errors import EngineError, first_line
from camserve.graph.heads import Carried
from camserve.graph.original.agreement import TOLERANCE
from camserve.models.engines.kept_models import KeptModels
from camserve.models.engines.observed import Observed
from camserve.models.engines.torch_engine import TorchEngine

_FILE = "model.onnx"


class OnnxRuntimeEngine:
    """Runs the network of a TorchEngine in onnxruntime. Autograd, and the head on changed activations, stay on torch.

    torch_engine, any_size, example: as in `OpenVinoEngine`. Many threads may call a session at once. Raises
    EngineError if the network cannot be exported.
    """

    name, precision, tolerance = "onnxruntime", "float32", TOLERANCE

    def __init__(
        self, torch_engine: TorchEngine, compute: Compute, *, any_size: bool, example: tuple[int, int, int]
    ) -> None:
        if compute.precision != "float32":
            raise EngineError(f"it computes in float32, not in {compute.precision}")
        self._torch, self._any_size, self._example = torch_engine, any_size, example
        self._session = self._started(Observed(torch_engine).eval(), compute)

    def __call__(self, images: Tensor) -> tuple[Tensor, Carried, Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), the other inputs of the head, and logits (N, C)."""
        try:
            found = self._session.run(None, {"images": images.detach().contiguous().numpy()})
        except Exception as error:  # onnxruntime's own classes
            raise RuntimeError(first_line(error)) from None
        activations, *carried, logits = (torch.from_numpy(one) for one in found)
        return activations, tuple(carried), logits

    def class_maps(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w)."""
        return self._torch.head.class_maps(self(images)[0])

    def forget_sizes(self) -> None:
        """As in `Engine`: onnxruntime caches nothing by size."""

    def _started(self, module: nn.Module, compute: Compute) -> Any:
        """A session of the exported graph, from the cache on disk if it is there."""
        start = partial(_session, threads=compute.threads)
        if not compute.cache:
            return start(self._exported(module))
        kept = KeptModels(Path(compute.cache).expanduser(), "onnxruntime", _FILE)
        file = kept.place_of(module, self._example[:1] if self._any_size else self._example)
        return kept.opened(file, start, partial(self._exported, module), _write)

    def _exported(self, module: nn.Module) -> bytes:
        channels, width, height = self._example
        free: dict[int, Any] = {0: "N", **({2: "H", 3: "W"} if self._any_size else {})}
        try:
            with warnings.catch_warnings(action="ignore"), torch.no_grad():
                program = torch.onnx.export(
                    module,
                    (torch.zeros(2, channels, height, width),),
                    dynamo=True,
                    dynamic_shapes={"images": free},
                    input_names=["images"],
                    verbose=False,
                )
            assert program is not None
            return bytes(program.model_proto.SerializeToString())
        except EngineError:
            raise
        except Exception as error:  # the exporter raises many kinds
            reason = next((line for line in str(error).split("\n") if line.strip()), type(error).__name__)
            raise EngineError(f"torch cannot export it as ONNX: {reason}") from None


def _write(model: bytes, path: Path) -> None:
    path.write_bytes(model)


def _session(model: Path | bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        given = str(model) if isinstance(model, Path) else model
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes
        raise EngineError(f"onnxruntime cannot run it: {first_line(error)}") from None
