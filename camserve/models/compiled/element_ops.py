"""Operations on single values: activations, arithmetic, and those of int8 networks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Untranslatable, Value, numbers

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Relu": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "HSwish": nn.Hardswish,
    "HSigmoid": nn.Hardsigmoid,
    "SoftPlus": nn.Softplus,
    "Mish": nn.Mish,
}
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Abs": torch.abs,
    "Erf": torch.erf,
    "Floor": torch.floor,
    "Ceiling": torch.ceil,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Round": torch.round,
}
_PAIRED: dict[str, Callable[..., Any]] = {
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
    "Divide": torch.div,
    "Power": torch.pow,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "FloorMod": torch.remainder,
    "Greater": torch.gt,
    "GreaterEqual": torch.ge,
    "Less": torch.lt,
    "LessEqual": torch.le,
    "Equal": torch.eq,
    "NotEqual": torch.ne,
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
}
# Part of a step: more than the error of float32.
_UP = 1e-3
# Functions of torch that also take a number.
_WITH_NUMBER = (torch.add, torch.sub, torch.mul, torch.div, torch.pow)


@rule(*_ACTIVATIONS)
def activation(made: Translation, operation: Operation, value: Value) -> Result:
    """An activation that torch has as a layer."""
    return made.layer(operation, _ACTIVATIONS[operation.kind](), value)


@rule("Clamp")
def clamp(made: Translation, operation: Operation, value: Value) -> Result:
    """ReLU6, or a clamp with other limits."""
    low, high = float(operation.attributes["min"]), float(operation.attributes["max"])
    return made.layer(operation, nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high), value)


@rule("Swish")
def swish(made: Translation, operation: Operation, value: Value, beta: Value | None = None) -> Result:
    """x sigmoid(beta x)."""
    factor = 1.0 if beta is None else float(numbers(beta)[0])
    if factor == 1:
        return made.layer(operation, nn.SiLU(), value)
    return made.call(torch.mul, value, made.call(torch.sigmoid, made.call(torch.mul, value, factor)))


@rule("Gelu")
def gelu(made: Translation, operation: Operation, value: Value) -> Result:
    """GELU, exact or with the tanh approximation."""
    mode = str(operation.attributes.get("approximation_mode", "ERF")).lower()
    return made.layer(operation, nn.GELU("tanh" if "tanh" in mode else "none"), value)


@rule("HardSigmoid")
def hard_sigmoid(made: Translation, operation: Operation, value: Value, alpha: Value, beta: Value) -> Result:
    """max(0, min(1, alpha x + beta)); in torch, alpha = 1/6 and beta = 1/2."""
    slope, start = float(numbers(alpha)[0]), float(numbers(beta)[0])
    if abs(slope - 1 / 6) < 1e-6 and start == 0.5:
        return made.layer(operation, nn.Hardsigmoid(), value)
    return made.call(torch.clamp, made.call(torch.add, made.call(torch.mul, value, slope), start), 0.0, 1.0)


@rule("Elu")
def elu(made: Translation, operation: Operation, value: Value) -> Result:
    """ELU with the file's alpha."""
    return made.layer(operation, nn.ELU(float(operation.attributes["alpha"])), value)


@rule("Selu")
def selu(made: Translation, operation: Operation, value: Value, alpha: Value, scale: Value) -> Result:
    """SELU with the file's constants."""
    return made.call(torch.mul, made.call(F.elu, value, float(numbers(alpha)[0])), float(numbers(scale)[0]))


@rule("PRelu")
def prelu(made: Translation, operation: Operation, value: Value, slope: Value) -> Result:
    """One slope for all channels, or one for each."""
    if not isinstance(slope, Tensor):
        raise Untranslatable("its slope is computed from the picture")
    if slope.numel() == 1:
        return made.layer(operation, nn.LeakyReLU(float(slope.flatten()[0])), value)
    channels = operation.shapes[0][1]
    if slope.numel() != channels:
        raise Untranslatable("its number of slopes is not the number of channels")
    layer = nn.PReLU(channels)
    layer.weight = nn.Parameter(slope.flatten())
    return made.layer(operation, layer, value)


@rule("Softmax", "LogSoftmax")
def softmax(made: Translation, operation: Operation, value: Value) -> Result:
    """Softmax or its logarithm along one axis."""
    layer = nn.Softmax if operation.kind == "Softmax" else nn.LogSoftmax
    axis = int(operation.attributes.get("axis", -1))
    return made.layer(operation, layer(dim=axis), value)


@rule(*_FUNCTIONS)
def function(made: Translation, operation: Operation, value: Value) -> Result:
    """A function that torch also has."""
    return made.call(_FUNCTIONS[operation.kind], value)


@rule(*_PAIRED)
def paired(made: Translation, operation: Operation, one: Value, other: Value) -> Result:
    """Arithmetic of two values, broadcast as in numpy. If possible, a constant becomes the bias of a layer."""
    if operation.kind == "Add":
        for value, constant in ((one, other), (other, one)):
            if isinstance(constant, Tensor) and _is_taken_in(made.module_of(value), constant):
                return value
    how = _PAIRED[operation.kind]
    if how in _WITH_NUMBER:
        one, other = _as_number(one, other), _as_number(other, one)
    return made.call(how, one, other)


def _as_number(value: Value, beside: Value) -> Any:
    """The value as a number, if it is a constant of one element next to a computed value."""
    alone = isinstance(value, Tensor) and value.numel() == 1 and isinstance(beside, fx.Node)
    return float(value) if alone else value  # type: ignore[arg-type]


def _is_taken_in(layer: nn.Module | None, constant: Tensor) -> bool:
    """Give the constant to a layer without a bias as its bias; return whether that worked.

    The constant is (1, C, 1, 1), or (1, C) for a linear layer.
    """
    is_convolution = isinstance(layer, nn.Conv2d)
    if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.bias is not None:
        return False
    count = layer.weight.shape[0]
    shape = (count, 1, 1) if is_convolution else (count,)
    if tuple(constant.shape)[-len(shape) :] != shape or constant.numel() != count:
        return False
    layer.bias = nn.Parameter(constant.flatten().float().clone(), requires_grad=False)
    return True


@rule("SquaredDifference")
def squared_difference(made: Translation, operation: Operation, one: Value, other: Value) -> Result:
    """(a - b)^2."""
    return made.call(torch.square, made.call(torch.sub, one, other))


@rule("LogicalNot")
def logical_not(made: Translation, operation: Operation, value: Value) -> Result:
    """The inverse of a mask."""
    return made.call(torch.logical_not, value)


@rule("Select")
def select(made: Translation, operation: Operation, mask: Value, one: Value, other: Value) -> Result:
    """The first value where the mask is true, else the second."""
    return made.call(torch.where, mask, one, other)


@rule("FakeQuantize")
def fake_quantize(
    made: Translation, operation: Operation, value: Value, low: Value, high: Value, out_low: Value, out_high: Value
) -> Result:
    """Values of an int8 network: clipped at both ends, and rounded to steps."""
    ends = low, high, out_low, out_high
    if not all(isinstance(end, Tensor) for end in ends):
        raise Untranslatable("its limits are computed from the picture")
    layer = Quantized(int(operation.attributes["levels"]), *(end.float() for end in ends))  # type: ignore[union-attr]
    return made.layer(operation, layer, value)


class Quantized(nn.Module):
    """x -> round((x - low) / (high - low) (levels - 1)) / (levels - 1) (out_high - out_low) + out_low, x clipped first.

    Values half-way are rounded up: sums of rounded values are often half-way, and the last bits of float32 should not
    decide. The gradient is that of the values before rounding, since rounding has none.
    """

    low: Tensor
    high: Tensor
    out_low: Tensor
    out_high: Tensor

    def __init__(self, levels: int, low: Tensor, high: Tensor, out_low: Tensor, out_high: Tensor) -> None:
        super().__init__()
        self.levels = levels
        for name, end in (("low", low), ("high", high), ("out_low", out_low), ("out_high", out_high)):
            self.register_buffer(name, end)

    def forward(self, values: Tensor) -> Tensor:
        """Clip and round; the shape stays the same."""
        share = (torch.minimum(torch.maximum(values, self.low), self.high) - self.low) / (self.high - self.low)
        steps = share * (self.levels - 1)
        rounded = steps + ((steps + _UP).round() - steps).detach()
        return rounded / (self.levels - 1) * (self.out_high - self.out_low) + self.out_low
