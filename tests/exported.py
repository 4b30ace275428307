"""Small networks of torch, and the files that exporters make of them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camserve.models.engines.openvino_quietly import openvino

opset13 = openvino.opset13

MEAN, STD = (124.0, 116.0, 104.0), (58.0, 57.0, 57.5)
SIDE = 32
INPUT: dict[str, Any] = {"size": SIDE, "mean": MEAN, "std": STD}


class Net(nn.Module):
    """Three classes by convolutions, pooling and a linear layer."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(channels, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 3)

    def features(self, images: Tensor) -> Tensor:
        """(N, 8, h, w)."""
        return self.norm(self.second(self.first(images).relu())).relu()

    def forward(self, images: Tensor) -> Any:
        """(N, 3)."""
        return self.head(self.features(images).mean((2, 3)))


class Pixels(nn.Module):
    """A network that brings pixels itself to what it expects. scale: of the pixels it is given, 255 or 1."""

    def __init__(self, net: nn.Module, *, last: bool = False, scale: float = 255) -> None:
        super().__init__()
        self.net, self.last, self.scale = net, last, scale / 255
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """images: with their channels last where `last`."""
        values = images.permute(0, 3, 1, 2).float() if self.last else images
        return self.net((values - self.mean * self.scale) / (self.std * self.scale))


def onnx_file(
    net: nn.Module,
    path: Path,
    example: Tensor | None = None,
    *,
    is_open: bool = True,
    outputs: tuple[str, ...] = ("logits",),
) -> Path:
    """net as ONNX. is_open: whether of any size and number of images."""
    example = torch.zeros(1, 3, SIDE, SIDE) if example is None else example
    axes = {"images": {0: "n", 2: "h", 3: "w"}} if is_open else None
    with warnings.catch_warnings(action="ignore"):  # this exporter is deprecated, and most files there are come from it
        torch.onnx.export(
            net.eval(),
            (example,),
            str(path),
            dynamo=False,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_axes=axes,
        )
    return path


def ir_file(net: nn.Module, path: Path, shape: tuple[int, ...] = (-1, 3, -1, -1), *, half: bool = False) -> Path:
    """net as OpenVINO's IR. half: with weights of half precision."""
    example = torch.zeros([side if side > 0 else SIDE for side in shape])
    with warnings.catch_warnings(action="ignore"):
        made = openvino.convert_model(net.eval(), example_input=example, input=[openvino.PartialShape(list(shape))])
    openvino.save_model(made, str(path), compress_to_fp16=half)
    return path


def saved(made: Callable[[Any], Any], path: Path, shape: tuple[int, ...]) -> Path:
    """The graph of an operation as OpenVINO's IR."""
    images = opset13.parameter(openvino.PartialShape(list(shape)), np.float32, name="images")
    openvino.save_model(openvino.Model([made(images)], [images]), str(path), compress_to_fp16=False)
    return path
