"""Compares a graph in torch with the model file: if the answers differ, the graph is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.errors import ModelError, first_line
from camserve.graph.original.agreement import apart
from camserve.models.compiled.element_ops import Quantized
from camserve.models.compiled.model_file import ModelFile, core

if TYPE_CHECKING:
    import openvino

INSTEAD = "Load the network as its own framework has it: camserve.load takes torch modules and checkpoints"
# Largest difference from the file's answers, as a share of their spread: float32 sums in another order.
_AGREEMENT = 1e-3
# Sizes (w, h) to compare at if a file takes any size: the first usual size that works, and one that is no multiple of
# the usual strides.
_USUAL, _OTHER = [(side, side) for side in (224, 32, 64, 96, 128, 160, 192, 256, 299, 384, 448, 512)], (251, 233)
# Number of levels for quantisation so fine that rounding changes nothing.
_FINE = 2**20


def check(path: Path, file: ModelFile, module: nn.Module) -> None:
    """Raise ModelError if the answers of `module` differ from the file's, for one image or two at a time.

    int8 networks are compared with fine steps: for a value half-way, float32 would decide at random.
    """
    compiled, refusals, has_answered = _compiled(_exactly(file.graph)), [], False
    for size in (file.size,) if file.size else (*_USUAL, _OTHER):
        if has_answered and size != _OTHER:
            continue
        images = _some(file, size)
        try:
            wanted, found = _asked(compiled, file, images), _answers(module, images)
        except RuntimeError as error:  # other sizes may work
            refusals.append(f"on an input of {size[0]} x {size[1]} pixels it fails: {first_line(error)}")
            continue
        has_answered = True
        far = max(apart(one, other) for one, other in zip(found, wanted, strict=True))
        if not far <= _AGREEMENT:
            refusals.insert(0, f"its graph in torch answers otherwise than in OpenVINO, by {far:.2g} of their spread")
            break
    else:
        if has_answered:
            return
    raise ModelError(f"'{path}' cannot be explained: {refusals[0]}. {INSTEAD}")


def _answers(module: nn.Module, images: Tensor) -> list[Tensor]:
    """The answers of `module`, in the order of the file's outputs; one image at a time if it takes only one."""
    with torch.no_grad(), _rounding_finely(module):
        try:
            return _parts(module(images))
        except RuntimeError:
            each = [_parts(module(image[None])) for image in images]
    return [torch.cat(parts) for parts in zip(*each, strict=True)]


def _parts(answer: Any) -> list[Tensor]:
    return [one.float().flatten(1) for one in (answer.values() if isinstance(answer, dict) else [answer])]


def _compiled(graph: openvino.Model) -> openvino.CompiledModel:
    # without the last option, inputs of int8 weights are rounded to int8, too, in spite of the first option
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    return core().compile_model(graph, "CPU", exact)


def _exactly(graph: openvino.Model) -> openvino.Model:
    """A copy of the graph with fine steps of rounding, and without the operation that OpenVINO's CPU gets wrong."""
    made = graph.clone()
    for one in made.get_ops():
        if one.get_type_name() in ("FakeQuantize", "LRN"):
            (_fine if one.get_type_name() == "FakeQuantize" else _normalised)(one)
    return made


def _fine(one: openvino.Node) -> None:
    from openvino import opset13

    made = opset13.fake_quantize(*(one.input_value(place) for place in range(5)), _FINE)
    one.output(0).replace(made.output(0))


def _normalised(one: openvino.Node) -> None:
    """(bias + a)^-beta as bias^-beta (1 + a / bias)^-beta: OpenVINO's CPU rounds bias down to a whole number."""
    from openvino import opset13

    facts = one.get_attributes()
    alpha, beta, bias = (float(facts[name]) for name in ("alpha", "beta", "bias"))
    made = opset13.lrn(one.input_value(0), one.input_value(1), alpha / bias, beta, 1.0, int(facts["size"]))
    one.output(0).replace(opset13.multiply(made, np.float32(bias**-beta)).output(0))


@contextmanager
def _rounding_finely(module: nn.Module) -> Iterator[None]:
    """Use fine steps of rounding in torch, inside the block."""
    parts = [part for part in module.modules() if isinstance(part, Quantized)]
    before = [part.levels for part in parts]
    try:
        for part in parts:
            part.levels = _FINE
        yield
    finally:
        for part, levels in zip(parts, before, strict=True):
            part.levels = levels


def _some(file: ModelFile, size: tuple[int, int]) -> Tensor:
    """Two random images, float32 (2, c, H, W), normalised as the file expects: coarse shapes and fine noise."""
    generator, (width, height), channels = torch.Generator().manual_seed(0), size, file.channels or 3
    coarse, fine = (torch.rand(2, channels, *sides, generator=generator) for sides in ((5, 5), (height, width)))
    pixels = (230 * F.interpolate(coarse, (height, width), mode="bilinear") + 25 * fine).round()
    mean, std = (
        torch.tensor(file.pixels.get(name, (usual,) * 3)[0]) for name, usual in (("mean", 120.0), ("std", 58.0))
    )
    return (pixels - mean) / std


def _asked(compiled: openvino.CompiledModel, file: ModelFile, images: Tensor) -> list[Tensor]:
    """The answers of the file itself, in the order of its outputs, from one image at a time.

    Raises RuntimeError if it does not take the size.
    """
    kind, request = compiled.inputs[0].get_element_type().to_dtype(), compiled.create_infer_request()
    each = []
    for image in images:
        values = image[None].permute(0, 2, 3, 1) if file.is_last else image[None]
        answers = request.infer([np.ascontiguousarray(values.numpy()).astype(kind)]).to_tuple()
        each.append([torch.from_numpy(np.array(one)).float() for one in answers])
    if any(len(part) != 1 for part in each[0]):
        raise RuntimeError("the answer has several rows for one image")
    return [torch.cat(parts).flatten(1) for parts in zip(*each, strict=True)]
