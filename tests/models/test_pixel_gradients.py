"""Gradients of pixels by the folded body and the head's own gradient: those of the network as it was given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import evidence_around, picture
from torch import Tensor, nn

import camserve
from camserve.catalogue.targets import class_target
from camserve.explain import open_photo, to_input
from camserve.explain.observation import image_gradients
from camserve.graph.heads import TargetFunction
from camserve.graph.trace import trace
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.pixel_gradients import gauss_legendre
from camserve.models.engines.pointwise import Pointwise, with_matrices
from camserve.nets.efficientnet_lite import SameConv2d


def as_given(model: camserve.Model, images: Tensor, target: TargetFunction) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(target(model.network.whole(leaf)).sum(), leaf)[0]


def likelihood(logits: Tensor) -> Tensor:
    return logits.softmax(1)[:, 0]


class Net(nn.Module):
    """A network with a linear head behind a body of all that becomes a matrix product, and what does not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1),
            nn.ReLU6(inplace=True), SameConv2d(8, 8, 1), nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(8, 8, 1, padding=1),
            nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 6, 1, bias=False),
        )  # fmt: skip
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean((2, 3)))


class Around(Net):
    """What reaches the head by another way than the layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean((2, 3))) * x.mean((1, 2, 3))[:, None]


class Choosing(Net):
    """What torch.fx cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


@pytest.mark.parametrize("kind", [Net, Around, Choosing])
@pytest.mark.parametrize("target", [class_target(1), likelihood])
@pytest.mark.parametrize("count", [1, 3])
def test_they_are_those_of_the_network_as_it_was_given(
    kind: type[nn.Module], target: TargetFunction, count: int
) -> None:
    model = camserve.load(kind(), size=32, layer="body.9" if kind is Around else None)
    images = torch.randn(count, 3, 33, 40, generator=torch.Generator().manual_seed(1))
    layer = model.layer()
    assert layer.gives_image_gradients == (kind is not Choosing)
    found = image_gradients(model, layer, images, target)
    assert not found.requires_grad
    torch.testing.assert_close(found, as_given(model, images, target), rtol=1e-4, atol=1e-7)


def test_of_the_embedded_model(model: camserve.Model, cat: Path) -> None:
    explanation = model.explain(cat)
    images = torch.from_numpy(np.array(picture(2, size=(96, 64)), np.float32)).permute(2, 0, 1)[None] / 128 - 1
    target = class_target(explanation.class_index)
    found, expected = image_gradients(model, model.layer(), images, target), as_given(model, images, target)
    # a unit at the very corner of a ReLU6 falls on its other side
    assert float((found - expected).norm() / expected.norm()) < 1e-2


@pytest.mark.parametrize("method", ["integratedgradients", "opticam"])
def test_methods_give_what_they_give_by_the_network_itself(method: str) -> None:
    model = camserve.load(Net(), size=32)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    evidence = evidence_around(model, images, 1)
    quick = apply(METHODS[method], evidence)
    assert evidence.whole is not None
    object.__setattr__(evidence.whole, "gradients", None)
    slow = apply(METHODS[method], evidence)
    # a hundred steps of Adam make much of the last digits of small slopes
    limit = 1e-4 if method == "integratedgradients" else 0.05
    assert float((quick - slow).norm() / slow.norm()) < limit


def test_a_dilated_layer_asks_the_network_as_it_was_given(model: camserve.Model) -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    layer = model.layer(output_stride=16)
    assert not layer.gives_image_gradients
    assert torch.equal(image_gradients(model, layer, images, likelihood), as_given(model, images, likelihood))


def test_only_single_places_become_matrix_products() -> None:
    net = Net().eval()
    made = with_matrices(trace(net.body))
    kinds = [type(part).__name__ for part in made.children()]
    assert [kind == "Pointwise" for kind in kinds] == [
        False,
        False,
        False,
        True,
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert next(part for part in made.modules() if isinstance(part, Pointwise)).weight is net.body[3].weight
    images = torch.randn(2, 3, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(images), net.body(images), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(part, Pointwise) for part in net.modules())


def test_points_and_weights_are_those_of_gauss_and_legendre() -> None:
    for count in (1, 2, 5, 32):
        points, weights = gauss_legendre(count)
        expected = np.polynomial.legendre.leggauss(count)
        np.testing.assert_allclose(points.numpy(), (expected[0] + 1) / 2, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(weights.numpy(), expected[1] / 2, rtol=1e-10)


def test_they_are_nearer_to_the_integral_than_midpoints(model: camserve.Model, cat: Path) -> None:
    """Pixels add up to the score above that of the mean colour, but for the rule's error."""
    photo, layer = open_photo(model, cat), model.layer()
    images = to_input(photo, model.frame(photo.size, 112), model.card.input)
    logits, nothing = layer.observe(images)[2], layer.observe(torch.zeros_like(images))[2]
    target = class_target(int(logits.argmax()))
    whole = float((target(logits) - target(nothing))[0])

    def error(points: Tensor, weights: Tensor) -> float:
        slopes = torch.cat([image_gradients(model, layer, point * images, target) for point in points.float()])
        return abs(float((weights.float()[:, None, None, None] * slopes * images).sum()) - whole)

    midpoints = (torch.arange(32) + 0.5) / 32, torch.full((32,), 1 / 32)
    assert error(*gauss_legendre(32)) < error(*midpoints)
