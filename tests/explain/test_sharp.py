"""Sharp: what must hold of a map of several sizes, on nets that can be followed on paper."""

import json
import subprocess
import sys
import urllib.parse
import urllib.request
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image
from torch import nn

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.config import load_settings
from camserve.errors import ConfigError, OptionError
from camserve.explain import open_photo
from camserve.explain.observation import observe
from camserve.explain.run import Run
from camserve.explain.sharp import detail_layer, fine_lattice, scaled_frames, sharpen
from camserve.explanation import Explanation
from camserve.geometry.frame import Frame, Placement, fit, native, resample
from camserve.models.inputs.preprocessing import to_input

SIDE = 64
SCALES = (1.0, 2.0, 3.0)


class RedNet(nn.Module):
    """Class 0 is red, class 1 blue. Cells 4 pixels apart, then 16, and a linear layer over their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.AvgPool2d(4)
        self.coarse = nn.AvgPool2d(4)
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, -0.5, -0.5], [-0.5, -0.5, 1]]))
            self.fc.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 2)."""
        return self.fc(self.coarse(self.fine(self.first(x))).mean((2, 3)))

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """What comes before the cells."""
        return x


class Leaning(RedNet):
    """Everything is seen 4 pixels too far to the right, and the hottest place alone decides."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 2)."""
        return self.fc(self.coarse(self.fine(self.first(x))).amax((2, 3)))

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), moved."""
        return nn.functional.pad(x, (4, -4, 0, 0))


class Positioned(RedNet):
    """Takes 64 x 64 pixels only."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("position", torch.zeros(1, 3, SIDE, SIDE))

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64)."""
        return x + self.position


class Small(RedNet):
    """Fails on inputs wider than 100 pixels, and says so in a way that no graph can hold."""

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W <= 100)."""
        if x.sum().isfinite() and x.shape[-1] > 100:
            raise RuntimeError("too wide")
        return x


class Skipping(RedNet):
    """Two more layers between fine and coarse, with a skip connection around them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3, 3, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 2)."""
        stage = self.fine(x)
        inside = self.two(self.one(stage))
        return self.fc((self.coarse(stage) + self.last(inside)).mean((2, 3)))


def load(net: nn.Module, **sections: dict[str, object]) -> camserve.Model:
    """A net at 64 pixels, which sees values from 0 to 1."""
    settings = load_settings(environ={}, overrides=sections)
    how: dict[str, Any] = {"size": SIDE, "mean": (0, 0, 0), "std": (255, 255, 255)}
    return camserve.load(net, labels=["red", "blue"], settings=settings, **how)


@pytest.fixture(scope="module")
def red() -> camserve.Model:
    return load(RedNet())


def square(
    size: tuple[int, int], x: float, y: float, side: int = 12, on: tuple[int, int, int] = (0, 0, 20)
) -> Image.Image:
    """A red square about (x, y), on dark blue where nothing is said, in an image of (W, H)."""
    image = Image.new("RGB", size, on)
    left, top = round(x - side / 2), round(y - side / 2)
    image.paste((255, 0, 0), (left, top, left + side, top + side))
    return image


def centroid(explanation: Explanation) -> tuple[float, float]:
    """The middle (x, y) of the heat from a quarter of the maximum on."""
    heat = np.where(explanation.heatmap > 0.25, explanation.heatmap, 0)
    down, across = np.indices(heat.shape)
    return float((heat * across).sum() / heat.sum()), float((heat * down).sum() / heat.sum())


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (128, 128), (70, 150)])
def test_the_hot_spot_moves_with_the_object_closer_than_that_of_one_pass(
    red: camserve.Model, size: tuple[int, int]
) -> None:
    far: dict[bool, list[float]] = {True: [], False: []}
    for x, y in ((0.3, 0.3), (0.45, 0.5), (0.6, 0.4), (0.55, 0.7)):
        place = x * size[0], y * size[1]
        photo = square(size, *place, side=min(size) // 5)
        for sharp in far:
            at = centroid(red.explain(photo, target="red", sharp=sharp))
            far[sharp].append(float(np.hypot(at[0] - place[0] + 0.5, at[1] - place[1] + 0.5)))
    assert max(far[True]) < min(size) / 9
    assert np.mean(far[True]) < np.mean(far[False])


def test_class_scores_and_completeness_are_those_of_the_nominal_size(red: camserve.Model) -> None:
    photo = square((80, 60), 30, 30)
    once, sharp = red.explain(photo), red.explain(photo, sharp=True)
    assert np.array_equal(once.logits, sharp.logits)
    for fact in ("class_index", "score", "completeness", "method", "layer", "head", "warnings"):
        assert getattr(once, fact) == getattr(sharp, fact), fact
    assert once.scales == ()
    assert sharp.scales == (1, 3)
    assert (sharp.map.min(), sharp.map.max()) >= (0, 1)
    assert sharp.map.dtype == np.float32
    assert once.provenance()["sharp"] is None
    assert json.loads(json.dumps(sharp.to_dict()))["provenance"]["sharp"] == {"scales": [1, 3]}


def test_the_map_is_the_sum_over_the_passes_written_out() -> None:
    model = load(RedNet(), sharp={"scales": (1.0,)})
    photo = square((64, 64), 20, 40)
    cells = np.asarray(photo, np.float64).reshape(16, 4, 16, 4, 3).mean((1, 3)) / 255
    detail = cells[..., 0]  # LayerCAM: what speaks for red, times red
    coarse = cells.reshape(4, 4, 4, 4, 3).mean((1, 3)).reshape(16, 3)
    shares = coarse / coarse.sum(1, keepdims=True)
    alike = shares / np.maximum(shares.sum(0), 1e-9) @ shares.T
    cam = (alike @ alike @ coarse @ [1, -0.5, -0.5]).reshape(4, 4)
    clamped = np.clip((np.arange(16) - 1.5) / 4, 0, 3)
    columns = np.maximum(1 - np.abs(clamped[:, None] - np.arange(4)), 0)  # bilinear, four cells for one
    positive = np.maximum(cam, 0) / cam.max()
    total = detail / detail.max() + columns @ positive @ columns.T
    wide = np.pad(total, 1, mode="edge")
    smooth = np.zeros((16, 16))
    for i, a in ((-1, 1), (0, 2), (1, 1)):
        for j, b in ((-1, 1), (0, 2), (1, 1)):
            smooth += a * b * wide[1 + i : 17 + i, 1 + j : 17 + j]
    sharp = model.explain(photo, target="red", sharp=True)
    assert sharp.placement.stride == (4, 4)
    np.testing.assert_allclose(sharp.map, smooth / smooth.max(), atol=1e-6)


def test_where_no_evidence_is_shared_mirror_images_cancel_what_leans_to_one_side() -> None:
    model, photo = load(Leaning()), square((64, 64), 29, 32)
    assert abs(centroid(model.explain(photo, target="red"))[0] - 28.5) > 3
    sharp = model.explain(photo, target="red", sharp=True)
    assert abs(centroid(sharp)[0] - 28.5) < 1
    mirror = model.explain(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), target="red", sharp=True)
    np.testing.assert_allclose(mirror.heatmap[:, ::-1], sharp.heatmap, atol=1e-5)


def test_no_heat_stays_no_heat(red: camserve.Model) -> None:
    explanation = red.explain(Image.new("RGB", (64, 64), (200, 0, 0)), target="blue", sharp=True)
    assert not explanation.map.any()
    assert explanation.warnings


def test_several_targets_are_each_as_if_asked_alone(red: camserve.Model) -> None:
    photo, targets = picture(3), ["red", "blue", "red-blue"]
    for target, one in zip(targets, red.explain_classes(photo, targets, sharp=True), strict=True):
        assert np.array_equal(one.map, red.explain(photo, target=target, sharp=True).map)


def test_every_option_goes_together_with_it(red: camserve.Model) -> None:
    photo = square((96, 64), 50, 30)
    assert red.explain(photo, layer="fine,coarse", method="gradcam", sharp=True).map.max() == 1
    assert red.explain(photo, layer="fine", method="layercam", size=96, sharp=True).map.max() == 1
    crop = red.explain(photo, size="crop", sharp=True)
    assert np.isnan(crop.heatmap).any()
    assert not np.isnan(crop.map).any()


def test_a_cell_of_several_sizes_has_no_one_receptive_field(red: camserve.Model) -> None:
    with pytest.raises(OptionError, match="combines several sizes; explain without sharp"):
        red.explain(picture(), sharp=True).receptive_box(10, 10)


def test_sizes_over_the_limit_are_left_out_and_the_nominal_one_stays() -> None:
    model = load(RedNet(), explain={"max_input_megapixels": 0.02}, sharp={"scales": SCALES})
    assert model.explain(picture(size=(64, 64)), sharp=True).scales == (1, 2)
    frame = fit((640, 64), 64, max_aspect=8)
    assert [scale for scale, _ in scaled_frames(model, frame, (16, 16))] == [1]  # it was allowed, or refused before


def test_scaled_inputs_are_whole_cells_of_the_same_box() -> None:
    frame = Frame((100, 80), (10, 0, 90, 80), (64, 64))
    model = load(RedNet(), sharp={"scales": SCALES})
    inputs = dict(scaled_frames(model, frame, (16, 16)))
    assert {scale: scaled.input for scale, scaled in inputs.items()} == {
        1: (64, 64), 2: (128, 128), 3: (192, 192),
    }  # fmt: skip
    assert {scaled.box for scaled in inputs.values()} == {frame.box}
    odd = native((100, 3))  # at scale 1 the input is what the decision was made on, whole cells or not
    assert [scaled.input for _, scaled in scaled_frames(model, odd, (16, 16))] == [
        (100, 3), (192, 16), (304, 16),
    ]  # fmt: skip


@pytest.mark.parametrize(("net", "scales"), [(Positioned, (1,)), (Small, (1,))])
def test_networks_that_do_not_take_every_size(net: type[nn.Module], scales: tuple[float, ...]) -> None:
    explanation = load(net()).explain(square((64, 64), 20, 40), target="red", sharp=True)
    assert explanation.scales == scales
    assert np.hypot(*(np.array(centroid(explanation)) - (19.5, 39.5))) < 4


def test_one_size_at_a_time_is_in_memory(red: camserve.Model) -> None:
    photo = open_photo(red, square((64, 64), 20, 40))
    frame = red.frame(photo.size)
    given: list[weakref.ref[torch.Tensor]] = []

    def pixels(scaled: Frame) -> torch.Tensor:
        assert all(one() is None for one in given)
        made = to_input(photo, scaled, red.card.input)
        given.append(weakref.ref(made))
        return made

    how = ExplainOptions(method="cam")
    seen = observe(red, to_input(photo, frame, red.card.input), ["red"], None, how, Run())
    (sharp,) = sharpen(red, frame, pixels, [seen])
    assert len(given) == len(sharp.scales) == 2


def test_the_lattice_is_four_times_as_dense_over_the_same_pixels() -> None:
    frame = native((224, 320))
    fine = fine_lattice(Placement(frame, (7, 10), (32, 32), (15.5, 15.5)))
    assert fine == Placement(frame, (28, 40), (8, 8), (3.5, 3.5))
    assert fine_lattice(Placement(frame, (56, 80), (4, 4), (1.5, 1.5))).stride == (4, 4)
    assert fine_lattice(Placement(frame, (224, 320), (1, 1), (0, 0))).grid == (224, 320)


def test_a_mirrored_map_is_laid_where_it_was_seen() -> None:
    frame = native((100, 50))
    place = Placement(frame, (3, 2), (32, 32), (10, 4))
    assert place.mirrored.offset == (25, 4)  # the last cell lies at 74, which is 25 from the right edge
    assert place.mirrored.mirrored == place


def test_maps_of_two_inputs_meet_in_the_photograph() -> None:
    small, large = Frame((100, 80), (0, 0, 100, 80), (50, 40)), Frame((100, 80), (20, 0, 100, 80), (160, 160))
    ramp = np.broadcast_to(np.arange(50, dtype=np.float32), (40, 50))
    source, onto = Placement(small, (50, 40), (1, 1), (0, 0)), Placement(large, (40, 40), (4, 4), (1.5, 1.5))
    moved = resample(ramp, source, onto)
    np.testing.assert_allclose(moved[0, :5], (20.5 + 2 * np.arange(5)) / 2 - 0.25, atol=1e-5)


def test_detail_comes_from_the_last_layer_that_nothing_goes_around(model: camserve.Model, red: camserve.Model) -> None:
    assert detail_layer(red, "coarse") == "fine"
    assert detail_layer(red, "fine") is None
    skipping = load(Skipping())
    assert skipping.layers()["two"][1:] == skipping.layers()["fine"][1:]
    assert detail_layer(skipping, skipping.default_layer) == "fine"
    assert detail_layer(load(Small()), "coarse") == "fine"
    assert detail_layer(model, model.default_layer) == "blocks.5.expand.act"


def test_settings(model: camserve.Model) -> None:
    with pytest.raises(ConfigError, match=r"sharp.scales.*1, the nominal size, must be among them"):
        load_settings(environ={"CAMSERVE_SHARP_SCALES": "2,3"})
    settings = load_settings(environ={"CAMSERVE_SHARP_SCALES": "1,2", "CAMSERVE_EXPLAIN_SHARP": "true"})
    assert settings.sharp.scales == (1, 2)
    net = camserve.load(RedNet(), size=SIDE, settings=settings)
    assert net.explain(picture()).scales == (1, 2)
    assert net.explain(picture(), sharp=False).scales == ()


def test_the_same_map_through_every_door(model: camserve.Model, cat: Path, server: str, tmp_path: Path) -> None:
    by_api = model.explain(cat, size=64, sharp=True)
    command = [sys.executable, "-m", "camserve", "explain", str(cat), "-o", str(tmp_path), "--size", "64", "--sharp"]
    subprocess.check_call(command, stdout=subprocess.DEVNULL)
    assert np.array_equal(np.load(tmp_path / cat.name / "map.npy"), by_api.map)
    query = urllib.parse.urlencode({"size": 64, "sharp": "on"})
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    request = urllib.request.Request(f"{server}/api/v1/explain?{query}", data=cat.read_bytes(), headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        facts = json.load(answer)
    assert np.array_equal(np.array(facts["map"], np.float32), by_api.map)
    assert facts["provenance"]["sharp"] == {"scales": [1, 3]}
