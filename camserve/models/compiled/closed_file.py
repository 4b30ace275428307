"""A model file explained in closed form: maps and logits from OpenVINO, explanations by arithmetic. No torch.

The import of torch and the conversion of a network take most of the time of a first explanation. Both are avoided here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camserve.config.schema import Compute
from camserve.errors import CamserveError, SizeError, first_line
from camserve.geometry.cells import Cells, centred_offset
from camserve.geometry.frame import Pair
from camserve.geometry.receptive_field import Field
from camserve.models.compiled.closed import TOLERANCES, Closed, EngineFacts
from camserve.models.compiled.closed_head import ClosedHead, closed_head_of
from camserve.models.compiled.file_fields import field_of
from camserve.models.compiled.model_file import ModelFile, fold, layer_names
from camserve.system.cores import granted_cores

if TYPE_CHECKING:
    import openvino

    from camserve.models.engines.compiled_model import Compiled

Float32 = npt.NDArray[np.float32]

# A second size is tried, larger by these pixels (w, h), which are no multiple of any stride.
_MORE = (35, 21)


class ClosedFile(Closed):
    """The closed form of a model file."""

    def __init__(self, file: ModelFile, head: ClosedHead, cells: Cells, compute: Compute, *, any_size: bool) -> None:
        engine = EngineFacts(compute.precision, TOLERANCES[compute.precision])
        name = _name(head.maps, file.graph)
        super().__init__(name, head.kind, head.weight, head.bias, cells, engine, any_size=any_size)
        self._file, self._head, self._compiled = file, head, _compiled(file.graph, head, compute)

    def observe(self, images: Float32) -> tuple[Float32, Float32]:
        """As in `Closed`."""
        given = self._as_the_file(images)
        try:
            maps, logits = self._compiled(given)
        except RuntimeError as error:
            said = f"the network fails on an input of {images.shape[-1]} x {images.shape[-2]} pixels"
            raise SizeError(f"{said}: {first_line(error)}. Try size=fit, crop or a larger number") from None
        maps = np.ascontiguousarray(maps[0].transpose(2, 0, 1) if self._head.is_last else maps[0])
        return maps, logits.reshape(-1)

    def summed(self, maps: Float32) -> Float32:
        """As in `Closed`; the positive part if there is a ReLU between the maps and the mean."""
        return np.maximum(maps, 0) if self._head.rectified else maps

    def _as_the_file(self, images: Float32) -> npt.NDArray[Any]:
        values = images.transpose(0, 2, 3, 1) if self._file.is_last else images
        if self._file.dtype != np.float32:
            limits = np.iinfo(self._file.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return np.ascontiguousarray(values, self._file.dtype)

    def accounts(self, size: tuple[int, int]) -> bool:
        """Whether the maps add up to the logits at a size (w, h)."""
        try:
            maps, logits = self.observe(_some(self._file, size))
        except (CamserveError, ValueError):
            return False
        pooled = self.summed(maps).mean((1, 2), dtype=np.float64)
        added = (pooled if self.weight is None else self.weight @ pooled) + self.bias
        spread = float(np.ptp(logits)) or float(np.abs(logits).max())
        return bool(np.abs(added - logits).max() <= self.engine.tolerance * spread)

    def forget_sizes(self) -> None:
        """As in `Closed`."""
        self._compiled.forget_sizes()


def closed_file_of(
    file: ModelFile, trained: tuple[int, int], compute: Compute, measured: Pair | None = None
) -> ClosedFile | None:
    """The closed form of a file; None if closed forms cannot explain the file exactly.

    trained: (w, h) of the training input. measured: the pixel (x, y) of the first cell at that size, if it was
    measured. The graph of the file is changed to take any size, if that works.
    """
    if (
        compute.engine not in ("auto", "openvino")
        or compute.device != "cpu"
        or not all(map(_is_exact, file.graph.get_ops()))
    ):
        return None
    any_size = _for_any_size(file)
    fixed = _of_one_image(file, trained)
    head = None if fixed is None else closed_head_of(fixed)
    if head is None or (not any_size and file.size != trained):
        return None
    head = head._replace(maps=_counterpart(head.maps, file.graph), logits=_counterpart(head.logits, file.graph))
    cells = _cells_of(file, head, trained, measured)
    if cells is None:
        return None
    made = ClosedFile(file, head, cells, compute, any_size=any_size)
    if not made.accounts(trained):
        return None
    made.takes_any_size = any_size and made.accounts((trained[0] + _MORE[0], trained[1] + _MORE[1]))
    return made


def _is_exact(operation: Any) -> bool:
    """Whether OpenVINO computes it in float32 as in the file. It rounds int8 networks, and its LRN is wrong."""
    kind = operation.get_type_name()
    in_whole = kind == "Constant" and operation.get_element_type().get_type_name() in ("i8", "u8", "i4", "u4")
    return kind not in ("FakeQuantize", "LRN") and not in_whole


def _for_any_size(file: ModelFile) -> bool:
    """Change a graph with a fixed input size to take any size; return whether that worked."""
    if file.size is None:
        return True
    image = file.graph.inputs[0]
    try:
        file.graph.reshape({image: _shape_of(file, image, None)})
    except Exception:  # the graph keeps its size
        file.graph.reshape({image: _shape_of(file, image, file.size)})
        return False
    return True


def _shape_of(file: ModelFile, image: openvino.Output, size: tuple[int, int] | None) -> openvino.PartialShape:
    whole = image.get_partial_shape()
    sides = list(whole)
    sides[slice(1, 3) if file.is_last else slice(2, 4)] = (-1, -1) if size is None else size[::-1]
    shape: openvino.PartialShape = whole.__class__(sides)
    return shape


def _of_one_image(file: ModelFile, size: tuple[int, int]) -> openvino.Model | None:
    """The graph for one image of a size (w, h), with its size arithmetic folded; None if it does not take this size."""
    graph = file.graph.clone()
    image = graph.inputs[0]
    shape = _shape_of(file, image, size)
    shape[0] = 1
    try:
        graph.reshape({image: shape})
        fold(graph)
    except Exception:  # any error at a size that it does not take
        return None
    return graph


def _counterpart(output: openvino.Output, graph: openvino.Model) -> openvino.Output:
    """The same output in another graph; one of the two graphs is a copy of the other."""
    name = output.get_node().get_friendly_name()
    (node,) = (one for one in graph.get_ops() if one.get_friendly_name() == name)
    return node.output(output.get_index())


def _cells_of(file: ModelFile, head: ClosedHead, trained: tuple[int, int], measured: Pair | None) -> Cells | None:
    """Where the cells of the maps lie; None if that is unknown."""

    @cache
    def at(more: int) -> tuple[Field | None, tuple[int, int]]:
        graph = _of_one_image(file, (trained[0] + more, trained[1] + more))
        if graph is None:
            return None, (0, 0)
        maps = _counterpart(head.maps, graph)
        shape = [int(one.get_length()) for one in list(maps.get_partial_shape())[1:]]
        down, across = shape[:2] if head.is_last else shape[1:]
        return field_of(graph, file.image, maps, image_is_last=file.is_last), (across, down)

    field, cells = at(0)
    if field is None:
        return None
    by_size = any(map(_pads_by_size, file.graph.get_ops()))
    by_side: Callable[[int], Field | None] = (lambda more: at(more)[0]) if by_size else (lambda more: field)
    period = math.lcm(*(int(step) for step in field.stride))
    return Cells(trained, field.stride, centred_offset(field, trained, cells, field.stride), measured, by_side, period)


def _pads_by_size(operation: Any) -> bool:
    """Whether the amount of padding of an operation depends on the size of its input."""
    if operation.get_type_name() == "Pad":
        return bool(operation.input_value(1).get_node().get_type_name() != "Constant")
    return str(operation.get_attributes().get("auto_pad", "")).lower().startswith("same")


def _name(maps: openvino.Output, graph: openvino.Model) -> str:
    """The layer's name as in torch. There, a sum with a constant is the bias of the operation before it."""
    node = maps.get_node()
    if node.get_type_name() == "Add":
        kinds = [node.input_value(place).get_node().get_type_name() for place in (0, 1)]
        if "Constant" in kinds:
            node = node.input_value(1 - kinds.index("Constant")).get_node()
    return layer_names(graph)[node.get_friendly_name()]


def _compiled(graph: openvino.Model, head: ClosedHead, compute: Compute) -> Compiled:
    from camserve.models.engines.compiled_model import Compiled, compiled_for
    from camserve.models.engines.openvino_quietly import openvino

    asked = openvino.Model([head.maps, head.logits], graph.get_parameters())
    folder = Path(compute.cache).expanduser() / "files" if compute.cache else None

    def compiled(model: Path | openvino.Model, calls: int) -> openvino.CompiledModel:
        kept = folder if model is asked else None  # not those of single shapes
        return compiled_for(model, calls, compute.threads, compute.precision, kept)

    return Compiled(asked, compiled, compute.workers or granted_cores())


def _some(file: ModelFile, size: tuple[int, int]) -> Float32:
    """A random image, normalised as the file expects."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, file.channels or 3, size[1], size[0])).astype(np.float32)
    mean, std = (file.pixels.get(name, (usual,))[0] for name, usual in (("mean", 120.0), ("std", 58.0)))
    found: Float32 = ((pixels - np.float32(mean)) / np.float32(std)).astype(np.float32)
    return found
