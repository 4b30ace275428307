"""What a method may ask: scores of changed layers and images, gradients of pixels, earlier stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.explain import open_photo
from camserve.explain.observation import evidence_of, stage_ends
from camserve.graph.heads import Head
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.models.inputs.preprocessing import to_input


@pytest.fixture(scope="module")
def evidence(model: camserve.Model) -> Evidence:
    photo = open_photo(model, picture(1, (120, 96)))
    pixels = to_input(photo, model.frame(photo.size, 96), model.card.input)
    layer = model.layer()
    return evidence_of(model, layer, pixels, class_target(7), layer.observe(pixels))


def test_unchanged_layer_and_image_give_the_target_itself(evidence: Evidence) -> None:
    expected = evidence.logits[:, 7]
    torch.testing.assert_close(evidence.score_layer(evidence.activations), expected)
    torch.testing.assert_close(evidence.score_images(evidence.around.images), expected, rtol=1e-4, atol=1e-4)
    many = evidence.score_images(evidence.around.images.expand(35, -1, -1, -1))
    torch.testing.assert_close(many, expected.expand(35), rtol=1e-4, atol=1e-4)


def test_image_gradients_are_those_of_the_uncut_network(model: camserve.Model, evidence: Evidence) -> None:
    images = evidence.around.images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model.module(images)[0, 7], images)
    torch.testing.assert_close(evidence.image_gradients(), expected, rtol=1e-3, atol=1e-5)
    assert not evidence.around.images.requires_grad


def test_spread_lays_maps_where_heatmaps_are_drawn(model: camserve.Model, evidence: Evidence) -> None:
    maps = torch.rand(2, *evidence.activations.shape[-2:], generator=torch.Generator().manual_seed(0))
    placed = evidence.around.spread(maps)
    explanation = model.explain(picture(1, (120, 96)), size="native")
    rows = explanation.placement.rows(maps[1].numpy(), 0, 96)
    np.testing.assert_allclose(placed[1].numpy(), rows, rtol=1e-5, atol=1e-6)


def test_stages_go_from_fine_to_coarse_and_end_at_the_layer(evidence: Evidence) -> None:
    sides = [stage.activations.shape[-1] for stage in evidence.around.stages()]
    assert sides == [60, 30, 15, 8, 4]
    assert torch.equal(evidence.around.stages()[-1].activations, evidence.activations)


def test_stage_ends_stop_at_the_layer() -> None:
    layers: dict[str, tuple[int, ...]]
    layers = {"a": (3, 8, 8), "b": (4, 8, 8), "c": (4, 4, 4), "d": (5, 4, 4), "e": (6, 2, 2)}
    assert stage_ends(layers, "d") == ["b", "d"]
    assert stage_ends(layers, "c") == ["b", "c"]


def test_a_layer_alone_says_that_the_model_is_missing() -> None:
    alone = Evidence(torch.zeros(1, 2, 3, 3), Head(nn.Flatten()), class_target(0))
    with pytest.raises(OptionError, match="only a layer is known here"):
        alone.score_images(torch.zeros(1, 3, 5, 5))


def test_each_image_has_its_own_evidence() -> None:
    both = Evidence(torch.rand(2, 2, 3, 3), Head(nn.Flatten()), class_target(0), (torch.rand(2, 4), 5))
    second = both.each()[1]
    assert torch.equal(second.activations, both.activations[1:])
    assert torch.equal(second.carried[0], both.carried[0][1:])
    assert second.carried[1] == 5


class ClassMap(nn.Module):
    """A class map, most of it negative, that a ReLU follows, as in SqueezeNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.scores = nn.Conv2d(3, 6, 3, 4, 1), nn.Conv2d(6, 5, 1)
        self.behind = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.behind(self.scores(self.stem(images).relu()))


@pytest.mark.parametrize("name", ["scorecam", "opticam", "eigencam", "kpcacam", "fem"])
def test_what_a_relu_holds_back_is_no_firing(name: str) -> None:
    """Maps that count how much channels fire are those of the class map that the ReLU lets through."""
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    asked = camserve.load(ClassMap(), layer="scores", size=32)
    layer = asked.layer()
    observed = evidence_of(asked, layer, pixels, class_target(1), layer.observe(pixels))
    assert observed.head.rectified
    assert (observed.activations < 0).any()
    assert (observed.fired == observed.activations.clamp(min=0)).all()
    seen = replace(observed, activations=observed.fired)
    torch.testing.assert_close(apply(METHODS[name], observed), apply(METHODS[name], seen))
