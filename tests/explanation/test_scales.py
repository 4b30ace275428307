"""Signed pictures and shared scales: what the ends of the colours stand for."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import overlaid as overlay
from conftest import picture
from PIL import Image

import camserve
from camserve.catalogue.colormaps import SIGNED_COLORMAPS, colours
from camserve.config import load_settings
from camserve.errors import OptionError
from camserve.explanation.common_scale import common_scale
from camserve.render import native_painter
from camserve.render.legend import Legend, place_legend
from camserve.render.scale import Scale, scale_of

MAP = np.array([[8, -4], [0, 4]], np.float32)


@pytest.fixture(scope="module")
def otter(model: camserve.Model, cat: Path) -> camserve.Explanation:
    """Of a cat: there is evidence for an otter, and against it."""
    return model.explain(cat, target="otter")


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_a_map_over_its_scale_is_what_the_colours_show() -> None:
    assert Scale(8, signed=True).share_of(MAP).tolist() == [[1, -0.5], [0, 0.5]]
    assert Scale(8, signed=False).share_of(MAP).tolist() == [[1, 0], [0, 0.5]]
    assert Scale(4, signed=False).share_of(MAP).tolist() == [[2, 0], [0, 1]]
    assert Scale(0, signed=False).share_of(-MAP - 8).tolist() == [[0, 0], [0, 0]]
    assert Scale(8, signed=True).share_of(np.array([np.nan, np.inf, -8], np.float32)).tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (Scale(8, signed=False), ("0", "", "8 logits")),
        (Scale(16, signed=False), ("0", "", "16 logits")),
        (Scale(5, signed=False), ("0", "", ">= 5 logits")),
        (Scale(8, signed=True), ("-8", "0", "8 logits")),
        (Scale(5, signed=True), ("-5", "0", ">= 5 logits")),
        (Scale(3, signed=True), ("<= -3", "0", ">= 3 logits")),
        (Scale(12.3456, signed=True), ("-12.3", "0", "12.3 logits")),
    ],
)
def test_the_ends_of_the_colour_bar_are_numbers(scale: Scale, words: tuple[str, str, str]) -> None:
    assert scale.words(MAP, "logits") == words
    assert scale.words(MAP, "own") == tuple(word.removesuffix(" logits") for word in words)


def test_signed_colours_are_clear_at_zero_and_grow_both_ways() -> None:
    heat = np.array([[-2, -1, -0.7, -0.4, -0.1, 0, 0.1, 0.4, 0.7, 1, 2]], np.float32)
    photo = Image.new("RGB", (11, 1))
    painted = overlay(photo, lambda a, b: np.maximum(heat, 0)[a:b], painted=lambda a, b: heat[a:b], signed=True,
                      colormap="gray", alpha=1)  # fmt: skip
    # A grey map on black shows level x opacity: of -0.4 and 0.4 the levels are 76 and 179, the opacity 0.51
    assert pixels(painted)[0, :, 0].tolist() == [0, 0, 38, 39, 0, 0, 0, 91, 217, 255, 255]


def test_signed_shows_what_unsigned_leaves_out(otter: camserve.Explanation) -> None:
    photo = pixels(otter.photo.image)
    plain, signed = (pixels(otter.overlay(signed=choice, smooth=False)) for choice in (False, True))
    placed = otter.placement.rows(otter.map / np.abs(otter.map).max(), 0, photo.shape[0])
    changed = (signed != photo).any(2)
    assert not changed[np.abs(placed) < 0.099].any()
    assert changed[placed < -0.4].all() and changed[placed > 0.4].all()
    assert not (plain != photo).any(2)[otter.heatmap < 0.099].any()
    assert (otter.heatmap[placed < -0.4] < 0.099).any()
    blue, red = signed[placed < -0.5] - photo[placed < -0.5], signed[placed > 0.5] - photo[placed > 0.5]
    assert (blue[:, 2] > blue[:, 0]).all() and (red[:, 0] > red[:, 2]).all()


def test_signed_colours_of_what_was_not_seen_are_those_of_unsigned(model: camserve.Model) -> None:
    explanation = model.explain(picture(1, (120, 60)), size="crop")
    plain, signed = (pixels(explanation.overlay(signed=choice)) for choice in (False, True))
    assert np.isnan(explanation.heatmap[:, :20]).all()
    assert np.array_equal(plain[:, :20], signed[:, :20])


def test_turning_the_sign_turns_the_picture(model: camserve.Model, cat: Path) -> None:
    first, second = (model.explain(cat, target=target) for target in ("281-285", "285-281"))
    pictures = (first.overlay(signed=True, colormap="vik"), second.overlay(signed=True, colormap="vik_r"))
    difference = np.abs(pixels(pictures[0]) - pixels(pictures[1]))
    assert difference.max() <= 3 and (difference > 0).mean() < 1e-3  # heat at a level's very edge goes to either side


def test_a_scale_of_the_map_s_own_maximum_is_the_picture_without_one(otter: camserve.Explanation) -> None:
    own = float(otter.map.max())
    assert otter.overlay(scale=own) == otter.overlay()
    assert otter.overlay(scale=own / 2) != otter.overlay() != otter.overlay(scale=2 * own)
    assert otter.overlay(signed=True, scale=float(np.abs(otter.map).max())) == otter.overlay(signed=True)
    # Lines are shares of the map's own maximum, whatever the colours.
    lines: dict[str, Any] = {"alpha": 0.0, "contour": 0.5, "boxes": 0.5}
    assert otter.overlay(scale=own / 2, **lines) == otter.overlay(signed=True, **lines) == otter.overlay(**lines)


def test_equal_colours_are_equal_numbers_on_a_common_scale(model: camserve.Model) -> None:
    one, other = model.explain_classes(picture(2), 2)
    weaker = replace(one, map=one.map / np.float32(4))
    scale = common_scale([weaker, one, other])
    assert scale == max(one.map.max(), other.map.max())
    flat = replace(one.photo, pixels=np.full((70, 90, 3), 128, np.uint8))
    strong, weak = (replace(e, photo=flat, map=np.full_like(e.map, e.map.max())) for e in (one, weaker))
    assert strong.overlay() == weak.overlay()
    assert strong.overlay(scale=scale) != weak.overlay(scale=scale)
    assert replace(strong, map=strong.map / np.float32(4)).overlay(scale=scale) == weak.overlay(scale=scale)


def test_a_common_scale_is_the_largest_end_of_all(model: camserve.Model, otter: camserve.Explanation) -> None:
    against = model.explain(otter.photo, target="-otter")
    assert common_scale([otter]) == otter.map.max() != against.map.max()
    assert common_scale([otter, against], signed=True) == np.abs(otter.map).max()
    assert common_scale([]) == 1
    assert common_scale([replace(otter, map=-np.abs(otter.map))]) == 1
    assert scale_of(otter.map, otter.unit, signed=True).end == np.abs(otter.map).max()


def test_maps_in_logits_compare_across_models_and_others_only_by_one_method_at_one_layer(model: camserve.Model) -> None:
    import torchvision

    torch.manual_seed(0)
    other = camserve.load(torchvision.models.resnet18(weights=None), size=64)
    assert common_scale(each.explain(picture(1)) for each in (model, other)) > 0
    gradcams = [model.explain(picture(seed), method="gradcam") for seed in range(2)]
    assert common_scale(gradcams) == max(one.map.max() for one in gradcams)
    with pytest.raises(OptionError, match="different units: logit by gradcam at head, logits. Only maps in logits"):
        common_scale([gradcams[0], model.explain(picture(0))])
    with pytest.raises(OptionError, match=r"logit by gradcam at blocks\.10, logit by gradcam at head"):
        common_scale([gradcams[0], model.explain(picture(0), method="gradcam", layer="blocks.10")])


@pytest.mark.parametrize(
    ("options", "unit"),
    [
        ({}, "logits"),
        ({"target": "281-282"}, "logits"),
        ({"target": 5, "quantity": "log-softmax"}, "own"),
        ({"method": "gradcam"}, "own"),
        ({"target": lambda logits: logits[:, 0] ** 2}, "own"),
        ({"sharp": True}, "relative"),
        ({"layer": "head,blocks.10", "method": "layercam"}, "relative"),
    ],
    ids=["class", "difference", "log-softmax", "gradcam", "function", "sharp", "two layers"],
)
def test_every_map_has_a_unit(model: camserve.Model, options: dict[str, object], unit: str) -> None:
    explanation = model.explain(picture(1), **options)  # type: ignore[arg-type]
    assert explanation.unit == explanation.to_dict()["unit"] == unit
    if unit == "relative":
        for look in ({"signed": True}, {"scale": 5.0}):
            with pytest.raises(OptionError, match="signed and scale need one raw map; this map combines several"):
                explanation.overlay(**look)
        with pytest.raises(OptionError, match="need one raw map"):
            common_scale([explanation])
        assert explanation.overlay(legend=True).size == (270, 210)  # small ones are drawn larger, for the legend


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "5"])
def test_a_scale_that_is_none_is_refused(otter: camserve.Explanation, scale: float) -> None:
    with pytest.raises(OptionError, match=f"scale {scale!r} is not a positive number"):
        otter.overlay(scale=scale)


@pytest.mark.parametrize("name", SIGNED_COLORMAPS)
def test_signed_colour_maps_are_as_light_at_both_ends_and_different(name: str) -> None:
    table = np.frombuffer(colours(name), np.uint8).reshape(256, 3).astype(int)
    light = table @ [0.2126, 0.7152, 0.0722]
    assert abs(light[0] - light[-1]) < 80
    assert abs(light[127] - light[[0, -1]]).min() > 50
    assert np.abs(table[0] - table[-1]).sum() > 80


def test_the_default_signed_colours_are_a_setting(otter: camserve.Explanation) -> None:
    assert otter.style.signed_colormap == SIGNED_COLORMAPS[0]
    assert otter.overlay(signed=True) == otter.overlay(signed=True, colormap=SIGNED_COLORMAPS[0])
    changed = load_settings(overrides={"render": {"signed_colormap": "vik"}}, environ={})
    assert changed.render.signed_colormap == "vik"


def test_legends_name_the_target_and_its_numbers(
    model: camserve.Model, otter: camserve.Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camserve.render import overlay as render

    drawn: list[Legend] = []

    def placed(canvas: Image.Image, legend: Legend, *how: Any) -> Image.Image:
        drawn.append(legend)
        return place_legend(canvas, legend, *how)

    monkeypatch.setattr(render, "place_legend", placed)
    end = f"{np.abs(otter.map).max():.3g}"
    otter.overlay(legend=True, signed=True)
    otter.overlay(legend=True, scale=100)
    against = model.explain(otter.photo, target="281-282", method="gradcam")
    against.overlay(legend=True, signed=True, scale=100)
    captions = [(legend.caption, legend.low, legend.middle, legend.high) for legend in drawn]
    assert captions == [
        (f"otter {otter.score:.2f}", f"-{end}", "0", f"{end} logits"),
        (f"otter {otter.score:.2f}", "0", "", "100 logits"),
        (f"tabby - tiger cat: {against.value:.2f} logits", "-100", "0", "100"),
    ]


def test_fifty_megapixels_take_no_map_of_their_size(model: camserve.Model) -> None:
    explanation = model.explain(Image.effect_noise((8660, 5773), 60).convert("RGB"), target="281-282")
    # where compiled code paints, the overlay is an array, which tracemalloc sees; else it is Pillow's memory
    canvas = 0 if native_painter.painter() is None else 4 * 8660 * 5773
    tracemalloc.start()
    try:
        left, right = explanation.share((0, 0, 3000, 5773)), explanation.share((3000, 0, 8660, 5773))
        found = explanation.polygons(0.3), explanation.at(4000, 2000)
        explanation.overlay(signed=True, scale=5.0, contour=0.3, legend=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(found)
    placed = explanation.logits[281] - explanation.logits[282] - explanation.bias
    assert left + right == pytest.approx(placed, abs=1e-4)
    assert peak - canvas < 50e6  # of numpy's; one float32 map of the photograph would be 200e6


def test_an_end_that_is_no_float32_is_no_error() -> None:
    for end in (1e300, 1e-300):
        scale = Scale(end, signed=True)
        assert np.isfinite(scale.share_of(MAP)).all()
        assert scale.words(MAP, "logits")[2].startswith(">= " if end < 1 else "1e+300")
