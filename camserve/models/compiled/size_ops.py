"""Arithmetic of sizes: what a graph computes from the size of its input, for reshapes and padding."""

import math
import operator
from functools import reduce
from typing import Any

import numpy as np
from torch import Tensor

from camserve.models.compiled.axis_ops import reshape
from camserve.models.compiled.shape_ops import slice_, slices, strided_slice, strided_slices
from camserve.models.compiled.translation import SIZE_RULES, Operation, Translation, rule
from camserve.models.compiled.values import Result, Sizes, Untranslatable, Value, as_sizes, numbers


@rule("Convert", "Floor", of=SIZE_RULES)
def whole_sizes(made: Translation, operation: Operation, value: Sizes) -> Result:
    """Rounds sizes to whole numbers; sizes are never negative, so all ways to round down are the same."""
    is_rounded = operation.kind == "Floor" or str(operation.attributes["destination_type"])[0] in "iu"
    return value if value.is_whole or not is_rounded else _by_number(lambda size: made.size(math.floor, size), value)


@rule("Reshape", of=SIZE_RULES)
def reshaped_sizes(made: Translation, operation: Operation, value: Value, shape: Value) -> Result:
    """Reshapes sizes, or a tensor to computed sizes."""
    if not isinstance(value, Sizes):
        return reshape(made, operation, value, shape)
    return Sizes(value.array.reshape(numbers(shape)))


@rule("Squeeze", of=SIZE_RULES)
def squeezed_sizes(made: Translation, operation: Operation, value: Sizes, axes: Value | None = None) -> Result:
    """Removes axes of size 1."""
    return Sizes(value.array.squeeze(None if axes is None else tuple(numbers(axes))))


@rule("Transpose", of=SIZE_RULES)
def turned_sizes(made: Translation, operation: Operation, value: Sizes, order: Value) -> Result:
    """Transposes rows of sizes to columns."""
    return Sizes(value.array.transpose(numbers(order) or None))


@rule("Gather", of=SIZE_RULES)
def some_sizes(made: Translation, operation: Operation, value: Value, indices: Value, axis: Value) -> Result:
    """Takes some sizes."""
    if not isinstance(value, Sizes) or not isinstance(indices, Tensor):
        raise Untranslatable("the indices it takes depend on the size of the picture")
    found = np.take(value.array, indices.numpy(), int(numbers(axis)[0]))
    return Sizes(np.array(found, object))


@rule("Concat", of=SIZE_RULES)
def joined_sizes(made: Translation, operation: Operation, *values: Value) -> Result:
    """Joins sizes."""
    return Sizes(np.concatenate([as_sizes(value).array for value in values], operation.attributes["axis"]))


@rule("Split", of=SIZE_RULES)
def parted_sizes(made: Translation, operation: Operation, value: Sizes, axis: Value) -> Result:
    """Splits sizes into equal parts."""
    parts = np.split(value.array, operation.attributes["num_splits"], int(numbers(axis)[0]))
    return tuple(Sizes(part) for part in parts)


@rule("Slice", of=SIZE_RULES)
def sliced_sizes(made: Translation, operation: Operation, value: Value, *ends: Value) -> Result:
    """Slices sizes, or a tensor up to computed positions."""
    if not isinstance(value, Sizes):
        return slice_(made, operation, value, *ends)
    return Sizes(value.array[slices(operation, *ends)])


@rule("StridedSlice", of=SIZE_RULES)
def strided_sizes(made: Translation, operation: Operation, value: Value, *ends: Value) -> Result:
    """TensorFlow's slice of sizes, or of a tensor up to computed positions."""
    if not isinstance(value, Sizes):
        return strided_slice(made, operation, value, *ends)
    return Sizes(np.array(value.array[strided_slices(operation, *ends)], object))


@rule("ReduceProd", of=SIZE_RULES)
def product(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """The product of a row of sizes."""
    whole = Sizes.row([reduce(lambda one, other: made.size(operator.mul, one, other), as_sizes(value).items)])
    return whole if operation.attributes.get("keep_dims") else Sizes(whole.array.reshape(()))


_ARITHMETIC: dict[str, Any] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.floordiv,
    "FloorMod": operator.mod,
}


@rule(*_ARITHMETIC, of=SIZE_RULES)
def arithmetic(made: Translation, operation: Operation, one: Value, other: Value) -> Result:
    """Arithmetic on each number."""
    found = _by_number(lambda *pair: made.size(_ARITHMETIC[operation.kind], *pair), one, other)
    return Sizes(found.array, as_sizes(one).is_whole and as_sizes(other).is_whole)


@rule("Select", of=SIZE_RULES)
def chosen_sizes(made: Translation, operation: Operation, mask: Value, one: Value, other: Value) -> Result:
    """The first value where the mask is 1, else the second."""
    return _by_number(lambda true, first, second: first if true else second, mask, one, other)


def _by_number(function: Any, *values: Value) -> Sizes:
    """Applies a function to each number, broadcast as in numpy."""
    arrays = np.broadcast_arrays(*(as_sizes(value).array for value in values))
    made = np.empty(arrays[0].shape, object)
    for place in np.ndindex(made.shape):
        made[place] = function(*(array[place] for array in arrays))
    return Sizes(made)
