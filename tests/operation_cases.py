"""Graphs of one operation each, for every rule of camserve/models/compiled, made by OpenVINO's builders."""

from collections.abc import Callable
from typing import Any

import numpy as np
from openvino import opset13 as ov
from openvino import opset15

Made = Callable[[Any], Any]


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Any:
    return ov.constant(np.array(values, np.int64))


def one(value: int) -> Any:
    return ov.constant(np.int64(value))


def positive(x: Any) -> Any:
    return ov.add(ov.abs(x), np.float32(0.5))


def convolved(kernel: Any, **options: Any) -> Made:
    facts = {"strides": [2, 2], "pads_begin": [0, 1], "pads_end": [1, 1], "dilations": [1, 1], **options}
    return lambda x: ov.convolution(x, kernel, **facts)


def with_bias(layer: Made, *shape: int) -> Made:
    return lambda x: ov.add(layer(x), numbers(*shape))


def unary(kind: str, given: Made = lambda x: x) -> Made:
    return lambda x: getattr(ov, kind)(given(x))


def paired(kind: str) -> Made:
    """With one that is computed, one a channel, and a number."""
    make = getattr(ov, kind)
    return lambda x: make(make(make(x, ov.negative(x)), numbers(1, 3, 1, 1)), np.float32(0.3))


def compared(kind: str) -> Made:
    return lambda x: ov.select(getattr(ov, kind)(ov.round(x), ov.round(ov.negative(x))), x, np.float32(2))


def reduced(kind: str, axes: tuple[int, ...], keep: bool) -> Made:
    return lambda x: getattr(ov, kind)(x, ints(*axes), keep)


def tokens(x: Any) -> Any:
    """(N, 3, H, W) -> (N, H W, 3)"""
    return ov.transpose(ov.reshape(x, ints(0, 0, -1), True), ints(0, 2, 1))


def attended(x: Any) -> Any:
    query = ov.unsqueeze(ov.matmul(tokens(x), numbers(3, 8), False, False), ints(1))
    return ov.scaled_dot_product_attention(query, ov.sin(query), ov.cos(query))


def resized(mode: str, place: str, **options: Any) -> Made:
    return lambda x: ov.interpolate(
        x, ints(11, 13), mode, "sizes", coordinate_transformation_mode=place, axes=ints(2, 3), **options
    )


def parts(kind: str, *more: Any) -> Made:
    """The parts in another order."""

    def made(x: Any) -> Any:
        split = getattr(ov, kind)(x, one(1), *more)
        return ov.concat([split.output(place) for place in (1, 0)], 1)

    return made


CASES: dict[str, list[Made]] = {
    "Convolution": [
        convolved(numbers(4, 3, 3, 3)),
        with_bias(convolved(numbers(4, 3, 3, 2), pads_end=[0, 1]), 1, 4, 1, 1),
        convolved(numbers(4, 3, 3, 3), auto_pad="same_upper"),
        convolved(numbers(4, 3, 2, 5), auto_pad="same_lower", strides=[1, 1], dilations=[2, 1]),
    ],
    "GroupConvolution": [
        lambda x: ov.group_convolution(x, numbers(3, 2, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]),
    ],
    "MatMul": [
        lambda x: ov.matmul(tokens(x), numbers(3, 4), False, False),
        with_bias(lambda x: ov.matmul(tokens(x), numbers(4, 3), False, True), 1, 1, 4),
        lambda x: ov.matmul(tokens(x), ov.sin(tokens(x)), True, False),
    ],
    "ScaledDotProductAttention": [attended],
    "MaxPool": [
        lambda x: opset15.max_pool(x, [2, 2], [1, 1], [1, 0], [1, 1], [3, 3]).output(0),
        lambda x: opset15.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "ceil").output(0),
        lambda x: opset15.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "floor", "same_upper").output(0),
    ],
    "AvgPool": [
        lambda x: ov.avg_pool(x, [2, 2], [1, 1], [1, 1], [3, 3], False),
        lambda x: ov.avg_pool(x, [2, 2], [1, 1], [1, 1], [3, 3], True),
        lambda x: ov.avg_pool(x, [2, 2], [0, 0], [1, 1], [3, 3], True),
        lambda x: ov.avg_pool(x, [2, 2], [0, 0], [1, 1], [3, 3], False),
        lambda x: ov.avg_pool(x, [2, 2], [0, 0], [0, 0], [3, 3], True, "floor", "same_upper"),
    ],
    "GroupNormalization": [lambda x: ov.group_normalization(x, numbers(3), numbers(3, seed=1), 3, 1e-3)],
    "LRN": [lambda x: ov.lrn(x, ints(1), 0.1, 0.7, 1.0, 3)],
    "Einsum": [lambda x: ov.einsum([x, ov.sin(x)], "nchw,ndhw->ncd")],
    "ShuffleChannels": [lambda x: ov.shuffle_channels(ov.concat([x, ov.sin(x)], 1), 1, 2)],
    "ReduceMean": [
        reduced("reduce_mean", (2, 3), False),
        reduced("reduce_mean", (2, 3), True),
        reduced("reduce_mean", (1,), True),
    ],
    "ReduceSum": [reduced("reduce_sum", (2,), False)],
    "ReduceMax": [reduced("reduce_max", (1, 3), True)],
    "ReduceMin": [reduced("reduce_min", (-1,), False)],
    "MVN": [
        lambda x: ov.mvn(tokens(x), ints(2), True, 1e-3, "inside_sqrt"),
        lambda x: ov.mvn(x, ints(2, 3), True, 1e-3, "inside_sqrt"),
        lambda x: ov.mvn(x, ints(2, 3), True, 1e-3, "outside_sqrt"),
        lambda x: ov.mvn(x, ints(1, 2, 3), False, 1e-3, "inside_sqrt"),
    ],
    "NormalizeL2": [
        lambda x: ov.normalize_l2(x, ints(1), 1e-2, "add"),
        lambda x: ov.normalize_l2(x, ints(1), 2.0, "max"),
    ],
    "Clamp": [lambda x: ov.clamp(x, 0, 6), lambda x: ov.clamp(x, -0.5, 0.5)],
    "Swish": [lambda x: ov.swish(x), lambda x: ov.swish(x, np.float32(1.7))],
    "Gelu": [lambda x: ov.gelu(x, "erf"), lambda x: ov.gelu(x, "tanh")],
    "HardSigmoid": [
        lambda x: ov.hard_sigmoid(x, np.float32(0.2), np.float32(0.5)),
        lambda x: ov.hard_sigmoid(x, np.float32(1 / 6), np.float32(0.5)),
    ],
    "Elu": [lambda x: ov.elu(x, 0.7)],
    "Selu": [lambda x: ov.selu(x, np.float32(1.67), np.float32(1.05))],
    "PRelu": [
        lambda x: ov.prelu(x, np.array([0.1], np.float32)),
        lambda x: ov.prelu(x, np.array([0.1, 0.2, 0.3], np.float32)),
    ],
    "Softmax": [lambda x: ov.softmax(x, 1)],
    "LogSoftmax": [lambda x: ov.log_softmax(x, 1)],
    "SquaredDifference": [lambda x: ov.squared_difference(x, np.float32(0.5))],
    "LogicalNot": [lambda x: ov.select(ov.logical_not(ov.greater(x, np.float32(0))), x, np.float32(2))],
    "LogicalAnd": [
        lambda x: ov.select(ov.logical_and(ov.greater(x, np.float32(-1)), ov.less(x, np.float32(1))), x, np.float32(2))
    ],
    "LogicalOr": [
        lambda x: ov.select(ov.logical_or(ov.greater(x, np.float32(-1)), ov.less(x, np.float32(1))), x, np.float32(2))
    ],
    "Select": [lambda x: ov.select(ov.greater(x, np.float32(0)), x, np.float32(2))],
    "FakeQuantize": [
        lambda x: ov.relu(ov.fake_quantize(x, np.float32(-1), np.float32(2), np.float32(-1), np.float32(2), 256)),
        lambda x: ov.sin(
            ov.fake_quantize(x, -np.abs(numbers(1, 3, 1, 1)), np.float32(2), np.float32(0), np.float32(1), 255)
        ),
    ],
    "ShapeOf": [lambda x: ov.reshape(x, ov.shape_of(ov.transpose(x, ints(0, 1, 3, 2))), False)],
    "Reshape": [
        lambda x: ov.reshape(x, ints(0, 0, -1), True),
        lambda x: ov.reshape(ov.reduce_mean(x, ints(2, 3)), ints(-1, 3, 1, 1), False),
        lambda x: ov.reshape(ov.reduce_mean(x, ints(1), True), ints(0, -1), True),
    ],
    "Transpose": [
        lambda x: ov.transpose(x, ints(0, 2, 3, 1)),
    ],
    "Squeeze": [lambda x: ov.squeeze(ov.reduce_max(x, ints(2), True), ints(2))],
    "Unsqueeze": [lambda x: ov.unsqueeze(x, ints(1, -1))],
    "Concat": [lambda x: ov.concat([x, ov.sin(x)], 1), lambda x: ov.concat([tokens(x), numbers(1, 1, 3)], 1)],
    "Split": [parts("split", 3)],
    "VariadicSplit": [parts("variadic_split", ints(1, 2)), parts("variadic_split", ints(-1, 2))],
    "Gather": [
        lambda x: ov.gather(x, ints(2, 0), one(1)),
        lambda x: ov.gather(x, one(-1), one(1)),
        lambda x: ov.gather(x, ov.constant(np.array([[0, -1], [1, 0]], np.int64)), one(1)),
    ],
    "Slice": [lambda x: ov.slice(x, ints(1, 0), ints(2**31 - 1, -1), ints(2, 1), ints(2, 3))],
    "StridedSlice": [
        lambda x: ov.strided_slice(x, ints(0, 0, 1), ints(0, 2, 9), ints(1, 1, 2), [1, 0, 0], [1, 0, 1]),
        lambda x: ov.strided_slice(x, ints(0, 1), ints(0, 2), ints(1, 1), [1, 0], [1, 0], [], [0, 1]),
    ],
    "Pad": [
        lambda x: ov.pad(x, ints(0, 0, 1, 2), ints(0, 0, 0, 3), "constant", np.float32(0.5)),
        lambda x: ov.pad(x, ints(0, 0, 1, 2), ints(0, 0, 0, 3), "reflect"),
        lambda x: ov.pad(x, ints(0, 0, 1, 2), ints(0, 0, 0, 3), "edge"),
    ],
    "Broadcast": [
        lambda x: ov.concat(
            [
                ov.broadcast(numbers(1, 1, 3), ov.concat([ov.gather(ov.shape_of(x), ints(0), one(0)), ints(1, 3)], 0)),
                tokens(x),
            ],
            1,
        )
    ],
    "Tile": [lambda x: ov.tile(x, ints(1, 2, 1, 3))],
    "DepthToSpace": [lambda x: ov.depth_to_space(ov.concat([x, ov.sin(x), ov.cos(x), x], 1), "depth_first", 2)],
    "SpaceToDepth": [lambda x: ov.space_to_depth(ov.concat([x, x], 2), "depth_first", 2)],
    "Interpolate": [
        resized("nearest", "asymmetric", nearest_mode="floor"),
        resized("linear_onnx", "half_pixel"),
        resized("linear_onnx", "align_corners"),
    ],
    "Convert": [lambda x: ov.convert(ov.greater(x, np.float32(0)), "f32")],
    "ConvertLike": [lambda x: ov.convert_like(ov.greater(x, np.float32(0)), x)],
    **{
        kind: [unary(name)]
        for kind, name in {
            "Relu": "relu",
            "Sigmoid": "sigmoid",
            "HSwish": "hswish",
            "HSigmoid": "hsigmoid",
            "SoftPlus": "softplus",
            "Mish": "mish",
            "Exp": "exp",
            "Floor": "floor",
            "Ceiling": "ceiling",
            "Sign": "sign",
            "Sin": "sin",
            "Cos": "cos",
        }.items()
    },
    "Round": [lambda x: ov.round(x, "half_to_even")],
    **{kind: [unary(kind.lower())] for kind in ("Abs", "Erf", "Tanh")},
    **{kind: [unary(kind.lower(), positive)] for kind in ("Log", "Sqrt")},
    **{kind: [paired(kind.lower())] for kind in ("Add", "Subtract", "Multiply", "Maximum", "Minimum")},
    "Divide": [lambda x: ov.divide(x, positive(ov.sin(x)))],
    "Power": [lambda x: ov.power(positive(x), np.float32(1.5))],
    "FloorMod": [lambda x: ov.floor_mod(x, positive(ov.sin(x)))],
    **{
        kind: [compared(name)]
        for kind, name in {
            "Greater": "greater",
            "GreaterEqual": "greater_equal",
            "Less": "less",
            "LessEqual": "less_equal",
            "Equal": "equal",
            "NotEqual": "not_equal",
        }.items()
    },
}


# Of graphs that take any size: of one size they are simplified away.
OPEN = ("Broadcast", "ShapeOf", "Squeeze")
