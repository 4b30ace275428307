"""SAME padding inside the convolution, instead of an operation that copies the map into a larger one.

A convolution with TensorFlow's SAME padding is converted to arithmetic of sizes, an OpenVINO Pad and a convolution.
OpenVINO's convolution can do that padding itself (`auto_pad = same_upper`): the same numbers, without a copy.
"""

import re
from typing import Any, NamedTuple

from torch import nn

from camserve.models.engines.openvino_quietly import openvino

Pair = tuple[int, int]

# The converter's name for the padding inside a module.
_PADDING = re.compile(r"__module\.(.+)/aten::pad/Pad(_\d+)?")
_KINDS = {"Convolution": openvino.opset13.convolution, "GroupConvolution": openvino.opset13.group_convolution}
# timm's class with SAME padding; it has no method that tells its padding.
_KNOWN = "timm.layers.conv2d_same.Conv2dSame"


class Window(NamedTuple):
    """The parameters that decide the amount of SAME padding; each (y, x)."""

    kernel: Pair
    stride: Pair
    dilation: Pair

    def zeros(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The SAME padding (left, right, top, bottom) of a map; an odd cell is added at the end."""
        down, across = (self._zeros(axis, length) for axis, length in ((0, height), (1, width)))
        return across // 2, across - across // 2, down // 2, down - down // 2

    def _zeros(self, axis: int, length: int) -> int:
        stride, extent = self.stride[axis], self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return max((-(-length // stride) - 1) * stride + extent - length, 0)

    @property
    def repeats(self) -> int:
        """A side from which the amount of SAME padding repeats with every stride."""
        return max(d * (k - 1) + 1 + 2 * s for k, s, d in zip(*self, strict=True))


def pad_in_convolutions(graph: "openvino.Model", module: nn.Module) -> int:
    """Change the graph of a converted module wherever one of its modules pads as SAME; return the number of changes.

    Any other padding stays, even if it equals SAME at one size.
    """
    count = 0
    for convolution in graph.get_ordered_ops():
        make = _KINDS.get(convolution.get_type_name())
        pad = convolution.input_value(0).get_node() if make is not None else None
        if make is None or pad is None or pad.get_type_name() != "Pad":
            continue
        asked = _plain_window(convolution)
        if asked is None or asked != _same_window(pad, module) or not _adds_zeros_for_one(pad):
            continue
        made = make(
            pad.input_value(0),
            convolution.input_value(1),
            strides=list(asked.stride),
            pads_begin=[0, 0],
            pads_end=[0, 0],
            dilations=list(asked.dilation),
            auto_pad="same_upper",
        )
        made.set_friendly_name(convolution.get_friendly_name())
        convolution.output(0).replace(made.output(0))
        count += 1
    if count:
        graph.validate_nodes_and_infer_types()
    return count


def _plain_window(convolution: Any) -> Window | None:
    """The window of a 2-D convolution without padding; None for other convolutions."""
    said, weight = convolution.get_attributes(), convolution.input_value(1).get_partial_shape()
    if said["auto_pad"] != "explicit" or any(said["pads_begin"]) or any(said["pads_end"]) or len(said["strides"]) != 2:
        return None
    if not all(side.is_static for side in list(weight)[-2:]):
        return None
    height, width = (int(side.get_length()) for side in list(weight)[-2:])
    return Window((height, width), tuple(said["strides"]), tuple(said["dilations"]))


def _same_window(pad: Any, module: nn.Module) -> Window | None:
    """The window for which the module of a Pad promises SAME padding; None if it does not."""
    found = _PADDING.fullmatch(pad.get_friendly_name())
    try:
        part: Any = module.get_submodule(found[1]) if found else None
    except AttributeError:
        return None
    if isinstance(part, nn.Conv2d):
        window = Window(*((int(y), int(x)) for y, x in (part.kernel_size, part.stride, part.dilation)))
    elif all(hasattr(part, name) for name in Window._fields):  # the padding alone
        window = Window(part.kernel, part.stride, part.dilation)
    else:
        return None
    return window if _promises(part, window) else None


def _promises(part: Any, window: Window) -> bool:
    """Whether a module pads as SAME: for every side until the amount repeats, or because its class is known."""
    if f"{type(part).__module__}.{type(part).__qualname__}" == _KNOWN:
        return True
    if not callable(padding := getattr(part, "same_padding", None)):
        return False
    sides = range(1, 2 * window.repeats)
    return all(tuple(padding(side, more)) == window.zeros(side, more) for side in sides for more in (side, side + 1))


def _adds_zeros_for_one(pad: Any) -> bool:
    """Whether the Pad adds zeros, and only one operation uses it."""
    fill = pad.input_value(3).get_node() if pad.get_input_size() > 3 else None
    zeros = fill is None or (fill.get_type_name() == "Constant" and not fill.get_data().any())
    return zeros and pad.get_attributes()["pad_mode"] == "constant" and len(pad.output(0).get_target_inputs()) == 1
