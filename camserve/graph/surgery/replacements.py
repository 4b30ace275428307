"""Layers that torch does not have: a classifier that slides, and SAME padding on a denser lattice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from camserve.errors import OptionError
from camserve.graph.surgery.twin import shared, variant
from camserve.graph.trace import is_recording

# Cells (left, right, top, bottom)
Edges = tuple[int, int, int, int]


class SlidingLinear(nn.Conv2d):
    """A fully connected layer on a window of (K, kh, kw), as a convolution that slides it over larger maps.

    On a map of exactly one window it computes the fully connected layer itself, so that the answer equals the
    original's bit for bit; a convolution adds in another order.
    """

    def __init__(self, linear: nn.Linear, channels: int, window: tuple[int, int]) -> None:
        super().__init__(channels, linear.out_features, window, bias=linear.bias is not None, device="meta")
        self.weight = shared(linear.weight, linear.out_features, channels, *window)
        if linear.bias is not None:
            self.bias = shared(linear.bias, linear.out_features)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, K, h, w) -> (N, O, h - kh + 1, w - kw + 1). Raises OptionError if the map is smaller than one window."""
        height, width = ((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))
        if input.shape[-2] < height or input.shape[-1] < width:
            raise OptionError(
                f"the last feature map has {input.shape[-1]} x {input.shape[-2]} cells, fewer than the "
                f"{width} x {height} that the classifier takes; give a larger input"
            )
        if not is_recording() and input.shape[-2:] == self.kernel_size:
            return F.linear(input.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]
        return super().forward(input)


class LatticeConv2d(nn.Conv2d):
    """A convolution with SAME padding whose input is `factor` (y, x) times denser than it was made for.

    Its padding is the padding of `layer` on the original lattice times the factor; the size of that lattice follows
    from the actual input. SAME padding of the dense map itself would shift the lattice, differently for each size.
    """

    def __init__(self, layer: nn.Conv2d, *, factor: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            stride,
            dilation=(layer.dilation[0] * factor[0], layer.dilation[1] * factor[1]),
            groups=layer.groups,
            bias=layer.bias is not None,
            device="meta",
        )
        self.factor = factor
        self.weight = shared(layer.weight, *layer.weight.shape)
        if layer.bias is not None:
            self.bias = shared(layer.bias, *layer.bias.shape)
        # without parameters, because otherwise every copy of this layer would copy them twice
        self._original: Any = variant(layer, _parameters={}, _buffers={}).same_padding

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Zeros to add (left, right, top, bottom) for a dense input of height x width cells."""
        return _on_lattice(self._original, self.factor, height, width)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C_in, h, w) -> (N, C_out, h', w'). Every factor-th cell is a cell of the original."""
        left, right, top, bottom = self.same_padding(input.shape[-2], input.shape[-1])
        if not is_recording() and left == right and top == bottom:  # the convolution's own padding saves a copy
            return F.conv2d(input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        return super().forward(F.pad(input, (left, right, top, bottom)))


class LatticePad2d(nn.ConstantPad2d):
    """SAME padding by a separate layer, for a map that is `factor` (y, x) times denser than it was made for."""

    def __init__(self, layer: Any, factor: tuple[int, int]) -> None:
        super().__init__(0, layer.value)
        self.factor, self._original = factor, layer.same_padding

    def same_padding(self, height: int, width: int) -> Edges:
        """Cells to add around a dense map of height x width cells."""
        return _on_lattice(self._original, self.factor, height, width)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, K, h, w) -> the same map with more rows and columns."""
        return F.pad(input, self.same_padding(input.shape[-2], input.shape[-1]), value=self.value)


def _on_lattice(original: Callable[[int, int], Edges], factor: tuple[int, int], height: int, width: int) -> Edges:
    down, across = factor
    left, right, top, bottom = original(-(-height // down), -(-width // across))
    return left * across, right * across, top * down, bottom * down
