"""A model file as OpenVINO reads it: its one input of images, its outputs, and its preprocessing of pixels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from camserve.errors import ModelError, NotInstalled
from camserve.models.compiled.reading_errors import reason
from camserve.models.compiled.whole_numbers import MOVING, give_floats, is_whole, take_floats

if TYPE_CHECKING:
    import openvino

# Formats that OpenVINO reads, by the end of a file's name; a folder may hold TensorFlow's SavedModel.
SUFFIXES = (".onnx", ".xml", ".tflite", ".pb", ".pdmodel")
SAVED_MODEL = "saved_model.pb"
# Numbers of channels of pictures; an axis with another size is not the channels.
_CHANNELS = (1, 3, 4)
# Range (highest less lowest value) of a usual network's input: less is a share of it, more are pixels of 0..255.
_NORMALISED = (0.9, 8.0)


@dataclass(frozen=True)
class ModelFile:
    """The graph of a file, changed to take any number of images at once if possible.

    graph: OpenVINO's. image: the name of the input that takes images. is_last: whether their channels come last.
    channels: of an image, None if the file does not fix them. size: (w, h) of the only input it takes; None: any.
    dtype: of the input. pixels: fields of `camserve.models.card.Input` that the graph itself states, such as the mean
    if it normalises. is_alone: whether the graph was fixed to one image at a time.
    """

    graph: openvino.Model
    image: str
    is_last: bool
    channels: int | None
    size: tuple[int, int] | None
    dtype: np.dtype[Any]
    pixels: dict[str, Any]
    is_alone: bool = False


def layer_names(graph: openvino.Model) -> dict[str, str]:
    """{name of each operation: its name as a layer}: the name in the file, without dots, which torch takes for parts of
    a path; if the reader invented the name from a counter, the kind of the operation and a count of that kind.
    """
    kinds, found = Counter[str](), dict[str, str]()
    for one in graph.get_ordered_ops():
        kind, name = one.get_type_name(), one.get_friendly_name()
        shown = name
        if kind not in ("Constant", "Parameter", "Result") and re.fullmatch(r"[A-Z][A-Za-z]*_\d+|\d+", name):
            kinds[kind] += 1
            shown = f"{kind}_{kinds[kind]}"
        found[name] = re.sub(r"[^\w/]+", "_", shown.removesuffix("/WithoutBiases")).strip("/") or "layer"
    return found


def is_model_file(text: str) -> bool:
    """Whether `text` has the form of a path of a model file; names of cards and architectures have other forms."""
    return text.lower().endswith(SUFFIXES)


def files_of(path: Path) -> list[Path]:
    """The file and the files of its weights: those of IR, and those that ONNX stores in a second file."""
    beside = {".xml": [path.with_suffix(".bin")], ".onnx": [path.with_name(f"{path.name}.data")]}
    return [path, *(one for one in beside.get(path.suffix.lower(), []) if one.is_file())]


def saved_model(source: str | Path) -> str | Path:
    """The main file of a folder with TensorFlow's SavedModel; else `source` unchanged."""
    with suppress(OSError, ValueError):
        inside = Path(source) / SAVED_MODEL
        return str(inside) if inside.is_file() else source
    return source


def read_model_file(path: Path, fixed: tuple[int, int] | None = None, *, alone: bool = False) -> ModelFile:
    """Read a model file. fixed: (w, h) of its input, if the file takes any size. alone: for one image at a time.

    Raises ModelError if it is not a model file or takes no images; NotInstalled.
    """
    graph = _read(path)
    image = _image_input(graph, path)
    if fixed is not None and None in _sizes(image.get_partial_shape())[1:]:
        _fix(graph, image, fixed)
    shape = _sizes(image.get_partial_shape())
    is_last = _channels_last(shape)
    channels, *places = (shape[-1], *shape[1:3]) if is_last else shape[1:]
    take_floats(graph, image)
    pixels = _pixels(image)
    _for_number(graph, image, 1 if alone else -1)
    _simplify(graph)
    give_floats(graph)
    fixed = None if None in places else (int(places[1] or 0), int(places[0] or 0))
    name, dtype = image.get_node().get_friendly_name(), np.dtype(image.get_element_type().to_dtype())
    return ModelFile(graph, name, is_last, channels, fixed, dtype, pixels, alone)


def stated_by(file: ModelFile) -> dict[str, Any]:
    """The fields of `camserve.models.card.Input` that the file itself states."""
    found = {**file.pixels, "resampler": "pillow"}
    if file.size is not None:
        width, height = file.size
        found["size"] = width if width == height else (height, width)
    if file.channels == 1:
        found |= {key: value[:1] for key, value in file.pixels.items()} | {"channels": "L"}
    return found


def core() -> openvino.Core:
    """OpenVINO's core. Raises NotInstalled."""
    try:
        from camserve.models.engines.openvino_quietly import openvino
    except ImportError:
        raise NotInstalled(
            "model files such as .onnx, .xml and .tflite are read by OpenVINO, which is not installed: "
            "pip install 'camserve[openvino]'"
        ) from None
    return openvino.Core()


def _read(path: Path) -> openvino.Model:
    if not path.exists():
        raise ModelError(f"there is no file '{path}'")
    weights = path.with_suffix(".bin")
    if path.suffix.lower() == ".xml" and not weights.is_file():
        raise ModelError(f"'{path}' needs its weights, the file '{weights.name}' beside it, which does not exist")
    try:
        return core().read_model(str(path.parent if path.name == SAVED_MODEL else path))
    except Exception as error:  # any error of any of its readers
        raise ModelError(f"'{path}' cannot be read by OpenVINO: {reason(error)}") from None


def _image_input(graph: openvino.Model, path: Path) -> openvino.Output:
    images = [
        one for one in graph.inputs if one.get_partial_shape().rank.is_static and len(one.get_partial_shape()) == 4
    ]
    if len(images) != 1 or len(graph.inputs) != 1:
        inputs = ", ".join(f"{_name(one)} {one.get_partial_shape()}" for one in graph.inputs)
        raise ModelError(f"'{path}' takes {inputs}; camserve explains models with one input of images, (N, c, H, W)")
    return images[0]


def _name(output: openvino.Output) -> str:
    return str(next(iter(sorted(output.get_names())), output.get_node().get_friendly_name()))


def _sizes(shape: openvino.PartialShape) -> tuple[int | None, ...]:
    return tuple(one.get_length() if one.is_static else None for one in shape)


def _channels_last(shape: Sequence[int | None]) -> bool:
    return shape[3] in _CHANNELS and shape[1] not in _CHANNELS


def _fix(graph: openvino.Model, image: openvino.Output, size: tuple[int, int]) -> None:
    """Make the graph take images of one size only."""
    sides = list(image.get_partial_shape())
    first = 1 if _channels_last(_sizes(image.get_partial_shape())) else 2
    sides[first : first + 2] = size[::-1]
    graph.reshape({image: image.get_partial_shape().__class__(sides)})


def _for_number(graph: openvino.Model, image: openvino.Output, count: int) -> None:
    """Make the graph take `count` images at once, -1 for any number; a graph made for one image may refuse."""
    whole = image.get_partial_shape()
    try:
        graph.reshape({image: whole.__class__([count, *list(whole)[1:]])})
    except Exception:  # the graph stays unchanged
        graph.reshape({image: whole})


def _simplify(graph: openvino.Model) -> None:
    """Fold constants and rejoin operations that exporters split, as OpenVINO does before it computes."""
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(graph, cf=True)


def fold(graph: openvino.Model) -> None:
    """Replace all that depends only on constants by constants, such as arithmetic of fixed sizes."""
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)


def _pixels(image: openvino.Output) -> dict[str, Any]:
    """What the first operations of a graph state about its pixels, as mean and std: {} if they state nothing.

    Whole numbers are pixels. If the graph scales its input to a usual range, such as -1..1, the input is 0..255 or
    0..1, whichever gives that range. An int8 network states the range of its input.
    """
    if is_whole(image):
        return _range_of(0, 255)
    factor, offset, value = 1.0, 0.0, image
    for _ in range(10):
        users = list(value.get_target_inputs())
        if len(users) != 1:
            break
        (user,) = users
        node = user.get_node()
        kind = node.get_type_name()
        constants = [
            _constant(node.input_value(place)) for place in range(node.get_input_size()) if place != user.get_index()
        ]
        ends = [(end - offset) / factor for end in constants[:2] if end is not None]
        if kind == "FakeQuantize" and len(ends) == 2:
            return _of_quantised(*ends)
        if kind in MOVING:
            value = node.output(0)
            continue
        if kind not in ("Add", "Subtract", "Multiply", "Divide") or constants[0] is None or user.get_index():
            break
        number = constants[0]
        if kind in ("Add", "Subtract"):
            offset += number if kind == "Add" else -number
        elif number:
            factor, offset = (one * number if kind == "Multiply" else one / number for one in (factor, offset))
        else:
            break
        value = node.output(0)
    least, most = _NORMALISED
    if (factor, offset) == (1, 0) or not factor:
        return {}
    if least <= 255 * factor <= most:
        return _range_of(0, 255)
    return _range_of(0, 1) if least <= factor <= most else {}


def _constant(value: openvino.Output) -> float | None:
    """A constant as one number, the mean if it has several, such as one for each channel; None for other values."""
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Reshape", "Unsqueeze") and node.get_input_size():
        node = node.input_value(0).get_node()
    return float(np.mean(node.data)) if node.get_type_name() == "Constant" else None


def _of_quantised(low: float, high: float) -> dict[str, Any]:
    """The range of a quantised input; for a network trained with a mean and a std, {}, which means the usual ones."""
    if high - low > 100:
        return _range_of(0, 255)
    if high <= 1.05:
        return _range_of(0 if low > -0.1 else -1, 1)
    return {}


def _range_of(low: int, high: int) -> dict[str, Any]:
    """Mean and std, in units of 0..255, that bring pixels to low..high."""
    std = 255 / (high - low)
    return {"mean": (-low * std,) * 3, "std": (std,) * 3}
