"""A model as ONNX: the logits and the class maps from one file, for any runtime.

Images may have any size if the network takes any. The metadata describes the input: the card and
the labels. A file is written only if onnxruntime gives the same answers as torch.
"""

import json
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.errors import ModelError, OptionError
from camserve.graph.heads import LinearHead
from camserve.models.classifier import Classifier
from camserve.models.engines.engine import AGREEMENT
from camserve.models.layer import Layer
from camserve.system.files import given_path, write_all

NEEDED = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Exported:
    """An exported model. outputs: names, in order. sizes: tried inputs (w, h). difference: the largest one from torch,
    as a share of the largest value.
    """

    path: Path
    layer: str
    outputs: tuple[str, str]
    any_size: bool
    sizes: tuple[tuple[int, int], ...]
    difference: float


def export(model: Classifier, path: str | Path, *, layer: str | None = None) -> Exported:
    """Write `model` as ONNX to `path`: images (N, c, H, W) -> logits (N, C) and class_maps (N, C, h, w).

    The second output is activations (N, K, h, w) if the head has no class maps at that layer. Raises OptionError
    if the ONNX packages are missing or the graph is unknown, ModelError if the network cannot be exported or
    onnxruntime gives other answers, OutputError.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise OptionError(f"exporting needs {', '.join(missing)}: pip install 'camserve[onnx]'")
    path, chosen = given_path("path", path), model.layer(layer)
    if not isinstance(chosen.body, fx.GraphModule):
        raise OptionError("torch.fx cannot trace this network, so its graph is unknown and it cannot be exported")
    module, any_size = _Answers(chosen).eval(), model.network.takes_any_size
    sizes = tuple(probe.size for probe in model.network.given.probes if probe.logits is not None)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        _write(module, made, model, sizes[-1], any_size)
        difference = max(_difference(module, made, model.network.given.image(size)) for size in sizes)
        write_all(path.parent, {path.name: made})
    return Exported(path, chosen.name, module.outputs, any_size, sizes, difference)


class _Answers(nn.Module):
    """images -> (logits, class maps or activations)."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.body, self.head = layer.on_torch.body, layer.head.module
        self.classifier: nn.Module = nn.Identity()
        if isinstance(layer.head, LinearHead):
            self.classifier = layer.head.as_convolution()
        self.outputs = ("logits", "class_maps" if layer.head.kind.has_class_maps else "activations")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, c, H, W) -> (N, C) and (N, C, h, w) or (N, K, h, w)."""
        activations, carried = self.body(images)
        return self.head(activations, *carried), self.classifier(activations)


def _write(module: _Answers, path: Path, model: Classifier, size: tuple[int, int], any_size: bool) -> None:
    free: dict[int, Any] = {0: "N", **({2: "H", 3: "W"} if any_size else {})}
    example = model.network.given.image(size).expand(2, -1, -1, -1).contiguous()
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes={"images": free},
                input_names=["images"],
                output_names=list(module.outputs),
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds
        reason = next((line for line in str(error).split("\n") if line.strip()), type(error).__name__)
        raise ModelError(f"torch cannot export '{model.name}' as ONNX: {reason}") from None
    assert program is not None
    program.model.metadata_props["camserve.card"] = model.card.model_dump_json(exclude={"known"})
    program.model.metadata_props["camserve.labels"] = json.dumps(model.labels)
    program.save(str(path))


def _difference(module: _Answers, path: Path, images: Tensor) -> float:
    """The difference between onnxruntime and torch on these images. Raises ModelError if it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    size = images.shape[-1], images.shape[-2]
    with torch.no_grad():
        expected = module(images)
    largest = 0.0
    for ours, theirs in zip(expected, session.run(None, {"images": images.numpy()}), strict=True):
        if tuple(theirs.shape) != tuple(ours.shape):
            raise ModelError(f"at {size[0]} x {size[1]} onnxruntime gives {theirs.shape}, torch {tuple(ours.shape)}")
        scale = float(ours.abs().max()) or 1.0
        largest = max(largest, float((torch.from_numpy(theirs) - ours).abs().max()) / scale)
    if not largest <= AGREEMENT:
        raise ModelError(
            f"at {size[0]} x {size[1]} onnxruntime differs from torch by {largest:.2g} of the largest value"
        )
    return largest
