"""SAME padding inside OpenVINO's convolutions: the bits of the padding apart, at every size; any other stays apart."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.config import load_settings
from camserve.models.compiled.same_padding import SamePad2d
from camserve.nets.efficientnet_lite import SameConv2d

if find_spec("openvino") is None:
    pytest.skip("camserve[openvino] is not installed", allow_module_level=True)
from camserve.models.engines.observed import Observed
from camserve.models.engines.openvino_quietly import openvino
from camserve.models.engines.same_upper import Window, pad_in_convolutions

SIZES = [(1, 1), (3, 5), (33, 47), (225, 223), (299, 224), (640, 480), (101, 333)]


class Own(nn.Module):
    """Whatever pads, between a convolution and a mean."""

    def __init__(self, *padded: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.padded, self.fc = nn.Conv2d(3, 6, 1), nn.Sequential(*padded), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.padded(self.first(x)).mean((2, 3)))


class AlwaysAfter(nn.Conv2d):
    """Zeros after the map alone: at even sizes just as SAME."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


class SaysSo(AlwaysAfter):
    """The same, which it says."""

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        return 0, 1, 0, 1


class Lower(SameConv2d):
    """SAME with the odd one before."""

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        left, right, top, bottom = super().same_padding(height, width)
        return right, left, bottom, top


class Filled(SameConv2d):
    """SAME, but for what is added."""

    def forward(self, input: Tensor) -> Tensor:
        padded = F.pad(input, self.same_padding(*input.shape[-2:]), value=0.5)
        return F.conv2d(padded, self.weight, self.bias, self.stride)


def converted(module: nn.Module) -> "openvino.Model":
    shape = openvino.PartialShape([-1, 3, -1, -1])
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        return openvino.convert_model(module.eval(), example_input=torch.zeros(1, 3, 32, 32), input=[shape])


def run(graph: "openvino.Model", size: tuple[int, int]) -> list[Any]:
    images = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return list(openvino.Core().compile_model(graph, "CPU", exact)([images]).to_tuple())


def pads(graph: "openvino.Model") -> int:
    return sum(one.get_type_name() == "Pad" for one in graph.get_ops())


@pytest.mark.parametrize("size", SIZES)
def test_the_embedded_model_gives_the_same_bits_at_every_size(whole: Any, size: tuple[int, int]) -> None:
    before, after = whole
    assert (pads(before), pads(after)) == (5, 0)
    for one, other in zip(run(before, size), run(after, size), strict=True):
        assert np.array_equal(one, other)


@pytest.fixture(scope="module")
def whole() -> tuple[Any, Any]:
    settings = load_settings(overrides={"compute": {"engine": "torch"}})
    engine = camserve.load(settings=settings).layer().engine
    before, after = (converted(Observed(engine)) for _ in range(2))  # type: ignore[arg-type]
    pad_in_convolutions(after, Observed(engine))  # type: ignore[arg-type]
    return before, after


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (5, 2), (3, 3), (5, 3)])
@pytest.mark.parametrize("groups", [1, 3])
def test_every_window_gives_the_same_bits(kernel: int, stride: int, groups: int) -> None:
    module = Own(SameConv2d(6, 6, kernel, stride=stride, groups=groups), nn.ReLU())
    before, after = converted(module), converted(module)
    assert pad_in_convolutions(after, module) == 1
    for size in [*SIZES[:3], (8, 9), (10, 13)]:
        assert np.array_equal(*(run(graph, size)[0] for graph in (before, after)))


def test_padding_by_a_module_of_its_own_is_taken_in_where_the_window_is_its_own() -> None:
    for stride, count in ((2, 1), (3, 0)):
        pad = SamePad2d((3, 3), (2, 2), (1, 1), 0.0)
        module = Own(pad, nn.Conv2d(6, 6, 3, stride=stride))
        before, after = converted(module), converted(module)
        assert pad_in_convolutions(after, module) == count
        assert np.array_equal(*(run(graph, (9, 12))[0] for graph in (before, after)))


@pytest.mark.parametrize("kind", [AlwaysAfter, SaysSo, Lower, Filled])
def test_padding_that_is_not_same_stays_as_it_is(kind: type[nn.Conv2d]) -> None:
    module = Own(kind(6, 6, 3, stride=2))
    before, after = converted(module), converted(module)
    assert pad_in_convolutions(after, module) == 0
    for size in [(8, 8), (9, 9), (8, 9)]:
        with torch.no_grad():
            images = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32))
            torch.testing.assert_close(torch.from_numpy(run(after, size)[0]), module(images), rtol=1e-4, atol=1e-5)
        assert np.array_equal(run(before, size)[0], run(after, size)[0])


def test_timm_s_own_is_taken_in() -> None:
    layers = pytest.importorskip("timm.layers.conv2d_same")
    module = Own(layers.Conv2dSame(6, 6, 3, stride=2))
    before, after = converted(module), converted(module)
    assert pad_in_convolutions(after, module) == 1
    for size in SIZES[:4]:
        assert np.array_equal(*(run(graph, size)[0] for graph in (before, after)))


def test_zeros_are_those_of_tensorflow() -> None:
    window = Window((3, 5), (2, 1), (1, 2))
    assert window.zeros(8, 4) == (4, 4, 0, 1)
    assert window.zeros(9, 9) == (4, 4, 1, 1)
    assert window.zeros(1, 1) == (4, 4, 1, 1)
