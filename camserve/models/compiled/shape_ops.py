"""Operations that move values without computing."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Sizes, Untranslatable, Value, as_sizes, numbers

# More than any size: the stop of a slice that goes to the end.
_END = 2**31 - 1


@rule("ShapeOf")
def shape_of(made: Translation, operation: Operation, value: Value) -> Result:
    """The sizes of a tensor, as numbers where they are fixed."""
    shape = operation.shapes[0]
    if isinstance(value, Tensor):
        return Sizes.row(value.shape)
    return Sizes.row([made.size("size", value, axis) if size is None else size for axis, size in enumerate(shape)])


@rule("Concat")
def concat(made: Translation, operation: Operation, *values: Value) -> Result:
    """Joins values along one axis. A constant, such as a class token, is repeated for each image."""
    axis, first = operation.attributes["axis"], next((value for value in values if isinstance(value, fx.Node)), None)
    if first is None or axis == 0:
        return made.call(torch.cat, [made.as_node(value) for value in values], axis)
    count = made.size("size", first, 0)
    each = (
        made.call("expand", value, (count, *value.shape[1:]))
        if isinstance(value, Tensor) and len(value) == 1
        else value
        for value in values
    )
    return made.call(torch.cat, [made.as_node(value) for value in each], axis)


@rule("Split")
def split(made: Translation, operation: Operation, value: Value, axis: Value) -> Result:
    """Splits into equal parts."""
    return _parts(
        made, torch.chunk, value, operation.attributes["num_splits"], operation.attributes["num_splits"], axis
    )


@rule("VariadicSplit")
def variadic_split(made: Translation, operation: Operation, value: Value, axis: Value, lengths: Value) -> Result:
    """Splits into parts of these sizes; -1 is the rest."""
    wanted = numbers(lengths)
    if -1 in wanted:
        size = operation.shapes[0][numbers(axis)[0]]
        if size is None:
            raise Untranslatable("the size of its parts depends on the size of the picture")
        wanted[wanted.index(-1)] = size - sum(wanted) - 1
    return _parts(made, torch.split, value, wanted, len(wanted), axis)


def _parts(made: Translation, function: Callable[..., Any], value: Value, how: Any, count: int, axis: Value) -> Result:
    parts = made.call(function, value, how, numbers(axis)[0])
    return tuple(made.call(operator.getitem, parts, place) for place in range(count))


@rule("Gather")
def gather(made: Translation, operation: Operation, value: Value, indices: Value, axis: Value) -> Result:
    """Takes some indices along an axis."""
    if operation.attributes.get("batch_dims", 0) or not isinstance(indices, Tensor):
        raise Untranslatable("the indices it takes depend on the picture")
    (along,) = numbers(axis)
    if indices.ndim == 0:
        return made.call("select", value, along, int(indices))
    found = made.call(torch.index_select, value, along, indices.flatten() % _known(operation, along))
    return found if indices.ndim == 1 else made.call("unflatten", found, along, tuple(indices.shape))


def _known(operation: Operation, axis: int) -> int:
    size = operation.shapes[0][axis]
    if size is None:
        raise Untranslatable("it takes indices along an axis whose size depends on the picture")
    return size


@rule("Slice")
def slice_(made: Translation, operation: Operation, value: Value, *ends: Value) -> Result:
    """Slices along some axes, by default the first ones."""
    return made.call(operator.getitem, value, _forward(slices(operation, *ends)))


def slices(operation: Operation, start: Value, stop: Value, step: Value, axes: Value | None = None) -> tuple[Any, ...]:
    """The index for `value[...]`."""
    starts, stops, steps = as_sizes(start).items, as_sizes(stop).items, numbers(step)
    along = list(range(len(starts))) if axes is None else numbers(axes)
    parts: list[Any] = [slice(None)] * len(operation.shapes[0])
    for axis, *one in zip(along, starts, stops, steps, strict=True):
        parts[axis] = _slice(*one)
    return tuple(parts)


@rule("StridedSlice")
def strided_slice(made: Translation, operation: Operation, value: Value, *ends: Value) -> Result:
    """TensorFlow's slice: masks say which ends count and which axes are removed."""
    return made.call(operator.getitem, value, _forward(strided_slices(operation, *ends)))


def strided_slices(operation: Operation, start: Value, stop: Value, step: Value | None = None) -> tuple[Any, ...]:
    """The index for `value[...]`. Raises Untranslatable for new axes."""
    starts, stops = as_sizes(start).items, as_sizes(stop).items
    masks = {
        name: [*operation.attributes.get(f"{name}_mask", []), *[0] * len(starts)]
        for name in ("begin", "end", "new_axis", "shrink_axis", "ellipsis")
    }
    if any(masks["ellipsis"]) or any(masks["new_axis"]):
        raise Untranslatable("it adds axes")
    steps = [1] * len(starts) if step is None else numbers(step)
    return tuple(
        first
        if masks["shrink_axis"][place]
        else _slice(None if masks["begin"][place] else first, None if masks["end"][place] else last, by)
        for place, (first, last, by) in enumerate(zip(starts, stops, steps, strict=True))
    )


def _slice(start: Any, stop: Any, step: int) -> slice:
    is_open = isinstance(stop, int) and abs(stop) >= _END
    return slice(start, None if is_open else stop, step)


def _forward(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index itself. Raises Untranslatable for slices that torch does not have."""
    if any(isinstance(part, slice) and (part.step or 1) < 1 for part in parts):
        raise Untranslatable("it goes backwards")
    return parts


@rule("Pad")
def pad(
    made: Translation, operation: Operation, value: Value, before: Value, after: Value, fill: Value | None = None
) -> Result:
    """Padding; torch counts axes from the last one."""
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(operation.attributes["pad_mode"])
    if mode is None:
        raise Untranslatable(f"padding of the kind {operation.attributes['pad_mode']}")
    ends = list(zip(as_sizes(before).items, as_sizes(after).items, strict=True))
    while len(ends) > 1 and ends[0] == (0, 0):
        ends.pop(0)
    if mode != "constant":
        return made.call(F.pad, value, tuple(end for both in ends[::-1] for end in both), mode=mode)
    constant = float(numbers(fill)[0]) if fill is not None else 0.0
    return made.call(F.pad, value, tuple(end for both in ends[::-1] for end in both), value=constant)


@rule("Broadcast")
def broadcast(made: Translation, operation: Operation, value: Value, shape: Value, axes: Value | None = None) -> Result:
    """Broadcasts as numpy, in both directions."""
    if axes is not None:
        raise Untranslatable("it names its new axes")
    wanted = as_sizes(shape).items
    if isinstance(value, Tensor) and all(isinstance(size, int) for size in wanted):
        return value.expand(torch.broadcast_shapes(value.shape, wanted))  # type: ignore[no-untyped-call]
    new = len(wanted) - len(operation.shapes[0])
    kept = (-1 if size == 1 and place >= new else size for place, size in enumerate(wanted))
    return made.call("expand", value, tuple(kept))


@rule("Tile")
def tile(made: Translation, operation: Operation, value: Value, repeats: Value) -> Result:
    """Repeats a value along its axes."""
    return made.call("repeat", value, tuple(as_sizes(repeats).items))


@rule("Interpolate")
def interpolate(
    made: Translation, operation: Operation, value: Value, target: Value, axes: Value | None = None
) -> Result:
    """Resizes a map."""
    facts = operation.attributes
    how = tuple(str(facts[name]).lower() for name in ("mode", "coordinate_transformation_mode"))
    along = [0, 1, 2, 3] if axes is None else numbers(axes)
    if how not in _RESAMPLINGS or along[-2:] != [2, 3] or facts.get("antialias"):
        raise Untranslatable(f"torch does not have its kind of resampling ({', '.join(how)})")
    if str(facts["shape_calculation_mode"]).lower() == "scales":
        return made.call(F.interpolate, value, None, tuple(numbers(target)[-2:]), **_RESAMPLINGS[how])
    return made.call(F.interpolate, value, as_sizes(target).items[-2:], **_RESAMPLINGS[how])


# By mode and by the assumed position of the cells of a map.
_RESAMPLINGS: dict[tuple[str, ...], dict[str, Any]] = {
    ("nearest", "asymmetric"): {"mode": "nearest"},
    ("nearest", "half_pixel"): {"mode": "nearest-exact"},
    **{
        (mode, place): {"mode": torchs, "align_corners": place == "align_corners"}
        for mode, torchs in (("linear", "bilinear"), ("linear_onnx", "bilinear"), ("cubic", "bicubic"))
        for place in ("half_pixel", "pytorch_half_pixel", "align_corners")
    },
}


@rule("DepthToSpace")
def depth_to_space(made: Translation, operation: Operation, value: Value) -> Result:
    """Moves channels to a finer grid, depth first."""
    if operation.attributes["mode"] != "depth_first":
        raise Untranslatable("its mode is not depth_first")
    return made.call(F.pixel_shuffle, value, operation.attributes["block_size"])


@rule("SpaceToDepth")
def space_to_depth(made: Translation, operation: Operation, value: Value) -> Result:
    """The inverse of DepthToSpace."""
    if operation.attributes["mode"] != "depth_first":
        raise Untranslatable("its mode is not depth_first")
    return made.call(F.pixel_unshuffle, value, operation.attributes["block_size"])


@rule("Convert", "ConvertLike")
def convert(made: Translation, operation: Operation, value: Value, *_: Value) -> Result:
    """All values computed from pictures are float32; a whole constant stays exact in it up to 2**24."""
    to = str(operation.attributes.get("destination_type", "f32"))
    if isinstance(value, Tensor):
        return value.float() if to in ("f32", "f16", "bf16", "f64") else value.long()
    if to not in ("f32", "f16", "bf16", "f64"):
        raise Untranslatable(f"it converts values of the picture to {to}")
    return value
