"""Placement: which rule places a layer, and how far from pasted objects their heat lies."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.catalogue.targets import class_target
from camserve.config import shipped
from camserve.explain import open_photo
from camserve.geometry.frame import crop, native
from camserve.graph.original.given import Given
from camserve.graph.traced import TracedNetwork
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.models.card import read_card
from camserve.models.inputs.preprocessing import to_input
from camserve.models.layer import Layer
from camserve.onboarding.stimuli import centres, pasted, places, soft_edged

# All photographs that scikit-image brings; what else it has is drawn.
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
    "retina.jpg", "rocket.jpg",
)  # fmt: skip


def test_only_the_layer_that_was_measured_is_calibrated(model: camserve.Model) -> None:
    measured = model.card.placement
    assert measured is not None
    assert measured.layer == model.default_layer
    assert model.explain(picture()).placement.rule == "calibrated"
    assert model.explain(picture(), layer="blocks.15").placement.rule == "centred"
    assert camserve.load(layer="blocks.15").explain(picture()).placement.rule == "centred"


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_shipped_models_are_calibrated_well_enough(name: str) -> None:
    card = read_card(shipped("models") / name / "card.toml")
    assert card.placement is not None
    assert card.placement.layer == card.layer
    assert card.placement.measured.startswith("camserve calibrate, ")
    error = re.search(r"error (\S+) x (\S+) px", card.placement.measured)
    assert error is not None
    assert max(map(float, error.groups())) < 0.5


@pytest.mark.parametrize("offset", [None, (3.0, 4.0)])
def test_the_first_cell_of_a_dilated_layer_stays_where_it_is(offset: tuple[float, float] | None) -> None:
    """dense[::2] is the layer itself, so dense cell 2 u sits where cell u does."""
    down = [nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(3)]
    net = nn.Sequential(*down, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    network, frame = TracedNetwork(Given(net.eval().requires_grad_(False), 64)), native((75, 67))
    plain = Layer(network, "2", None, offset).placement(frame, (10, 9))
    dense = Layer(network, "2", 4, offset).placement(frame, (19, 17))
    assert (plain.stride, dense.stride) == ((8, 8), (4, 4))
    assert plain.offset == (offset or (3.5, 3.5))
    assert dense.cell_centre(2 * 3, 2 * 5) == plain.cell_centre(3, 5)


Objects = list[tuple[list[torch.Tensor], int]]


@pytest.fixture(scope="module")
def objects(model: camserve.Model, photos: Path) -> Objects:
    """(each photograph's middle flipped four ways, the class it raises most at the size trained at)."""
    return model.workers.run(lambda: flipped(model, photos))


def flipped(model: camserve.Model, photos: Path) -> Objects:
    layer, found = model.layer(), []
    where = places((111.5, 111.5), 112, (32, 32))[:2]
    plain = layer.observe(torch.zeros(1, 3, 224, 224))[2]
    for name in PHOTOGRAPHS:
        photo = open_photo(model, photos / name)
        patch = soft_edged(to_input(photo, crop(photo.size, (112, 112), share=1), model.card.input)[0])
        flips = [patch, patch.flip(-1), patch.flip(-2), patch.flip(-1, -2)]
        logits = torch.cat([layer.observe(pasted(flip, where, (224, 224)))[2] for flip in flips])
        found.append((flips, int((logits - plain).mean(0).argmax())))
    return found


def off_by(
    model: camserve.Model, objects: list[tuple[list[torch.Tensor], int]], size: tuple[int, int]
) -> Iterator[Any]:
    """((x, y) off by the centred rule, by the calibrated one) for each trial, pixels.

    Off is the centroid of the placed heat above a quarter of its maximum, against the object's centre. The objects
    lie around the middle of the grid, half of them at each half of the places.
    """
    layer = model.layer()
    height, width = layer.observe(torch.zeros(1, 3, size[1], size[0]))[0].shape[-2:]
    grid = width, height
    rules = [layer.placement(native(size), grid, centred=centred) for centred in (True, False)]
    around = places(rules[0].cell_centre((grid[0] - 1) / 2, (grid[1] - 1) / 2), 112, layer.stride)
    for number, (flips, index) in enumerate(objects):
        where = [around[0], around[3]] if number % 2 else [around[1], around[2]]
        for flip in flips:
            activations, _, _ = layer.observe(pasted(flip, where, size))
            maps = apply(METHODS["cam"], Evidence(activations, layer.head, class_target(index))).numpy()
            for one, centre in zip(maps, centres(where, 112).numpy(), strict=True):
                yield [hot_spot(rule.rows(np.maximum(one, 0), 0, size[1])) - centre for rule in rules]


def hot_spot(heat: np.ndarray) -> np.ndarray:
    """The centroid (x, y) of what is above a quarter of the maximum."""
    hot = np.maximum(heat - heat.max() / 4, 0)
    return np.array([hot.sum(0) @ np.arange(hot.shape[1]), hot.sum(1) @ np.arange(hot.shape[0])]) / hot.sum()


@pytest.mark.parametrize("size", [(299, 240), (320, 224), (257, 391)])
def test_heat_lies_where_pasted_objects_are(model: camserve.Model, objects: Objects, size: tuple[int, int]) -> None:
    """Within J/8 = 4 pixels by the centred rule and J/16 = 2 by the calibrated one, over places and flips.

    Not so at 257 x 391. Across, the last column of cells sees one pixel and else padding, which moves the heat; down,
    the centred rule is 3.5 off at any size, and these photographs add 1.2. They are others than the card was
    calibrated with.
    """
    trials = model.workers.run(lambda: list(off_by(model, objects, size)))
    centred, calibrated = np.abs(np.mean(trials, 0))
    assert centred.max() < (5 if size == (257, 391) else 4)
    assert calibrated[0] < (5 if size == (257, 391) else 2)
    assert calibrated[1] < 2
