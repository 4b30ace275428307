"""Sums and means along axes, and normalisations."""

import torch
from torch import nn
from torch.nn import functional as F

from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Value, numbers


@rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def reduced(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Reduces along some axes. A mean over all places of a map becomes a pooling layer."""
    rank, kept = len(operation.shapes[0]), bool(operation.attributes["keep_dims"])
    along = tuple(sorted(int(axis) % rank for axis in numbers(axes)))
    if operation.kind == "ReduceMean" and rank == 4 and along == (2, 3):
        pooled = made.layer(operation, nn.AdaptiveAvgPool2d(1), value)
        return pooled if kept else made.call(torch.flatten, pooled, 1)
    names = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin"}
    return made.call(names[operation.kind], value, along, kept)


@rule("MVN")
def mvn(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Layer or instance normalisation: subtracts the mean and divides by the deviation, along some axes."""
    rank, facts = len(operation.shapes[0]), operation.attributes
    along = tuple(sorted(int(axis) % rank for axis in numbers(axes)))
    last = operation.shapes[0][-1]
    inside = "inside" in str(facts["eps_mode"]).lower()
    if along == (rank - 1,) and facts["normalize_variance"] and inside and last is not None:
        return made.call(F.layer_norm, value, (last,), None, None, float(facts["eps"]))
    centred = made.call(torch.sub, value, made.call("mean", value, along, True))
    if not facts["normalize_variance"]:
        return centred
    variance = made.call("mean", made.call(torch.square, centred), along, True)
    if inside:
        return made.call(torch.div, centred, made.call(torch.sqrt, made.call(torch.add, variance, float(facts["eps"]))))
    return made.call(torch.div, centred, made.call(torch.add, made.call(torch.sqrt, variance), float(facts["eps"])))


@rule("NormalizeL2")
def normalize(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Normalises to length 1 along one axis; eps is added to the sum of squares, or is its lower limit."""
    facts, along = operation.attributes, tuple(numbers(axes))
    square = made.call("sum", made.call(torch.square, value), along, True)
    adds = str(facts["eps_mode"]).lower().endswith("add")
    square = made.call(torch.add if adds else "clamp", square, float(facts["eps"]))
    return made.call(torch.div, value, made.call(torch.sqrt, square))
