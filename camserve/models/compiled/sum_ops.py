"""Sums and means along axes, and what is normalised by them."""

import torch
from torch import nn
from torch.nn import functional as F

from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Value, numbers


@rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def reduced(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Along some axes. The mean over all places of a map is what a network pools by."""
    rank, kept = len(operation.shapes[0]), bool(operation.attributes["keep_dims"])
    along = tuple(sorted(int(axis) % rank for axis in numbers(axes)))
    if operation.kind == "ReduceMean" and rank == 4 and along == (2, 3):
        pooled = made.layer(operation, nn.AdaptiveAvgPool2d(1), value)
        return pooled if kept else made.call(torch.flatten, pooled, 1)
    names = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin"}
    return made.call(names[operation.kind], value, along, kept)


@rule("MVN")
def mvn(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Less the mean, over the deviation, along some axes: layer and instance normalisation."""
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
    """To length 1 along one axis; eps is added to the square, or is the least that it counts."""
    facts, along = operation.attributes, tuple(numbers(axes))
    square = made.call("sum", made.call(torch.square, value), along, True)
    adds = str(facts["eps_mode"]).lower().endswith("add")
    square = made.call(torch.add if adds else "clamp", square, float(facts["eps"]))
    return made.call(torch.div, value, made.call(torch.sqrt, square))
