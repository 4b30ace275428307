"""EfficientNet-Lite: depthwise separable blocks, a 1x1 head convolution, global average pooling, one linear layer.

Without squeeze-excitation every layer is local, so receptive fields are true ones. With ReLU6 everywhere the
last feature maps are never negative. Global average pooling makes its class activation maps exact.

Sources: Tan & Le, EfficientNet (ICML 2019, arXiv:1905.11946); the Lite variants as published with TensorFlow's
TPU models (no squeeze-excitation, ReLU6 for swish, stem and head not scaled); depthwise separable convolution:
Howard et al., MobileNets (arXiv:1704.04861); inverted residuals: Sandler et al., MobileNetV2 (arXiv:1801.04381).
"""

import math
import re
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from camserve.graph.trace import is_recording

# expansion, output channels, repeats, stride of the first repeat, kernel: EfficientNet-B0's seven stages
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: ceil(n / stride) outputs for n inputs, at any n.

    The padding is asymmetric at stride 2 and depends on the size, so it is computed from the actual input.
    """

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Zeros to add (left, right, top, bottom) for an input of height x width pixels."""
        across, down = self._zeros(1, width), self._zeros(0, height)
        return across // 2, across - across // 2, down // 2, down - down // 2

    def _zeros(self, axis: int, length: int) -> int:
        """(ceil(n / s) - 1) s + extent - n, and no less than 0.

        There is no branch on n if the kernel covers the stride. So a tracer, for which n is a
        symbol, records a graph that works for every size.
        """
        stride, extent = self.stride[axis], self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        if stride == 1:
            return extent - 1
        if extent >= stride:
            return extent - 1 - (length - 1) % stride
        return max((math.ceil(length / stride) - 1) * stride + extent - length, 0)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
        left, right, top, bottom = self.same_padding(input.shape[-2], input.shape[-1])
        varies = max(self.stride) > 1 and is_recording()
        if not varies and left == right and top == bottom:  # the convolution's own padding saves a copy
            return F.conv2d(input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        return super().forward(F.pad(input, (left, right, top, bottom)))


class ConvNorm(nn.Sequential):
    """SAME convolution and batch normalisation, then ReLU6 unless it ends a block."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, activation: bool = True, **conv: Any):
        super().__init__()
        self.conv = SameConv2d(inputs, outputs, kernel, bias=False, **conv)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        if activation:
            self.act = nn.ReLU6()


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; the input is added if the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.adds_input = stride == 1 and inputs == outputs
        self.expand = ConvNorm(inputs, hidden) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, activation=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        out: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.adds_input else out


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite classifier.

    width, depth: multipliers of channels and of repeats. Input: RGB (N, 3, H, W), (0..255 - 127) / 128, any
    size from 1 x 1; output: logits (N, classes). Loads the key names of the published PyTorch checkpoints
    as well as its own.
    """

    def __init__(self, *, width: float = 1.0, depth: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for number, (expansion, channels, repeats, stride, kernel) in enumerate(_STAGES):
            outputs = _round_channels(channels * width)
            scaled = number not in (0, len(_STAGES) - 1)  # Lite keeps the outermost stages at one repeat
            for repeat in range(math.ceil(repeats * depth) if scaled else repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, expansion=expansion, kernel=kernel, stride=step))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(inputs, 1280)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, classes)
        self.register_load_state_dict_pre_hook(_rename_published_keys)  # type: ignore[no-untyped-call]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> logits (N, classes)."""
        features = self.head(self.blocks(self.stem(x)))
        logits: torch.Tensor = self.classifier(self.dropout(self.flatten(self.pool(features))))
        return logits


def efficientnet_lite0(classes: int = 1000) -> EfficientNetLite:
    """EfficientNet-Lite0: 4.65 million parameters, 224 pixels."""
    return EfficientNetLite(classes=classes)


def efficientnet_lite1(classes: int = 1000) -> EfficientNetLite:
    """EfficientNet-Lite1: 5.42 million parameters, 240 pixels."""
    return EfficientNetLite(depth=1.1, classes=classes)


def efficientnet_lite2(classes: int = 1000) -> EfficientNetLite:
    """EfficientNet-Lite2: 6.09 million parameters, 260 pixels."""
    return EfficientNetLite(width=1.1, depth=1.2, classes=classes)


def _round_channels(channels: float) -> int:
    """The nearest multiple of 8 that is at least 90 % of `channels` (the EfficientNet rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


_PUBLISHED = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
)


def _rename_published_keys(module: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
    """Rename the published checkpoints' keys to this module's, in place as torch's hook requires."""
    for key in list(state):
        name = key.removeprefix(prefix)
        for pattern, ours in _PUBLISHED:
            name = re.sub(pattern, ours, name)
        state[prefix + name] = state.pop(key)
