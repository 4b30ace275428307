"""render.max_side: overlays of large photographs are painted smaller, in their own pixels; all else stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import camserve
from camserve.catalogue.options import OverlayOptions
from camserve.config import load_settings
from camserve.errors import ConfigError
from camserve.explanation.explanation import Explanation
from camserve.explanation.overlay_size import overlay_facts, overlay_size
from camserve.geometry.frame import Frame, Placement
from camserve.images.arrays.resampling import resample
from camserve.render.regions import Box

SIZE = (1100, 733)
SMALL = (600, 400)  # 733 * 600 / 1100 is 399.8


@pytest.fixture(scope="module", params=["fit", "crop"])
def made(model: camserve.Model, request: pytest.FixtureRequest) -> Explanation:
    coarse = picture(3, (11, 7)).resize(SIZE, Image.Resampling.BICUBIC)
    return model.explain(coarse, size=request.param)


def smaller(made: Explanation, max_side: int = 600) -> Explanation:
    return replace(made, style=made.style.model_copy(update={"max_side": max_side}))


LOOKS = {
    "plain": OverlayOptions(),
    "signed": OverlayOptions(signed=True),
    "contour": OverlayOptions(contour=0.5),
    "legend": OverlayOptions(legend=True),
    "grey": OverlayOptions(grey=True, alpha=0.3),
}


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_the_overlay_of_the_smaller_photograph(made: Explanation, look: str) -> None:
    """The same picture, bit for bit, as of an explanation of the resampled photograph with the same map."""
    photo = replace(made.photo, pixels=resample(made.photo.pixels, SMALL, "bilinear"))
    (left, top, right, bottom), (width, height) = made.placement.frame.box, SIZE
    box = (left * 600 / width, top * 400 / height, right * 600 / width, bottom * 400 / height)
    frame = Frame(SMALL, box, made.placement.frame.input)
    expected = replace(made, photo=photo, placement=replace(made.placement, frame=frame)).drawn(LOOKS[look])
    drawn = smaller(made).drawn(LOOKS[look])
    assert drawn.size == SMALL
    assert drawn.tobytes() == expected.tobytes()
    assert smaller(made, 1100).drawn(LOOKS[look]).tobytes() == made.drawn(LOOKS[look]).tobytes()


@pytest.mark.parametrize("native", [True, False])
def test_heat_lies_where_it_lay(made: Explanation, native: bool) -> None:
    """Against the large overlay made smaller: on a photograph of one grey, where only the heat is left to differ."""
    grey = replace(made.photo, pixels=np.full((*SIZE[::-1], 3), 128, np.uint8))
    flat = replace(made, photo=grey, style=made.style.model_copy(update={"native": native}))
    large = resample(np.array(flat.overlay()), SMALL, "bilinear").astype(int)
    far = np.abs(np.asarray(smaller(flat).overlay()) - large).max(2)
    assert np.asarray(flat.overlay()).std() > 10
    assert (
        np.quantile(far, 0.95) <= 4
    )  # the rest lies along the crop's frame, whose line is as wide as its picture says
    if made.placement.frame.sees_all:
        assert far.max() <= 4


def test_boxes_are_drawn_at_its_scale_and_said_at_the_photographs(made: Explanation) -> None:
    one = smaller(made)
    (box, *_) = made.boxes(0.5)
    plain, boxed = (np.asarray(one.drawn(OverlayOptions(boxes=share))).astype(int) for share in (None, 0.5))
    rows, columns = np.nonzero((boxed != plain).any(2))
    edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    several = np.array([[each.left, each.top, each.right, each.bottom] for each in made.boxes(0.5)])
    wanted = np.array([*several[:, :2].min(0), *several[:, 2:].max(0)]) * 600 / 1100
    assert np.abs(edges - wanted).max() <= 4  # half of a line, and what rounding leaves
    assert one.boxes(0.5) == made.boxes(0.5) and one.polygons(0.5) == made.polygons(0.5)
    assert box.resized(SIZE, SMALL) != box


def test_all_but_the_overlay_keeps_the_photographs_pixels(made: Explanation) -> None:
    one = smaller(made)
    np.testing.assert_array_equal(one.heatmap, made.heatmap)
    assert b"".join(one.heatmap_npy()) == b"".join(made.heatmap_npy())
    for picture_of in (Explanation.mask_image, Explanation.heatmap_image):
        assert picture_of(one).tobytes() == picture_of(made).tobytes()
    facts = one.to_dict()
    assert facts.pop("overlay") == {"width": 600, "height": 400, "scale": 600 / 1100}
    assert facts == made.to_dict() and "overlay" not in facts


def test_small_photographs_stay_as_they_are(model: camserve.Model) -> None:
    made = model.explain(picture(3, (255, 90)))
    for look in (OverlayOptions(), OverlayOptions(legend=True)):
        assert smaller(made, 512).drawn(look).tobytes() == made.drawn(look).tobytes()
    assert made.drawn(OverlayOptions(legend=True)).width == 510  # enlarged, never beyond the least side there may be


@given(st.tuples(st.integers(1, 70000), st.integers(1, 70000)), st.just(0) | st.integers(512, 65535))
def test_sizes(photo: tuple[int, int], most: int) -> None:
    size = overlay_size(photo, most)
    assert (overlay_facts(photo, most) == {}) == (size == photo)
    if not most or max(photo) <= most:
        assert size == photo
        return
    assert max(size) == most and min(size) >= 1
    assert abs(min(size) - min(photo) * most / max(photo)) <= 1


SIDES = st.tuples(st.integers(1, 9999), st.integers(1, 9999))


@given(SIDES, SIDES, st.tuples(*[st.integers(0, 9998)] * 4))
def test_boxes_hold_what_they_held(photo: tuple[int, int], size: tuple[int, int], at: tuple[int, ...]) -> None:
    left, right = sorted((at[0] % photo[0], at[1] % photo[0]))
    top, bottom = sorted((at[2] % photo[1], at[3] % photo[1]))
    box = Box(left, top, right + 1, bottom + 1, 0.5, 0.25).resized(photo, size)
    assert 0 <= box.left < box.right <= size[0] and 0 <= box.top < box.bottom <= size[1]
    assert box.left * photo[0] <= left * size[0] and box.right * photo[0] >= (right + 1) * size[0]
    assert box.top * photo[1] <= top * size[1] and box.bottom * photo[1] >= (bottom + 1) * size[1]
    assert (box.peak, box.share) == (0.5, 0.25)


@given(SIDES, SIDES, st.integers(1, 9), st.floats(0.1, 1))
def test_a_point_keeps_its_cell(photo: tuple[int, int], size: tuple[int, int], grid: int, share: float) -> None:
    box = (0.1 * photo[0], 0.2 * photo[1], (0.1 + share) * photo[0], (0.2 + share) * photo[1])
    for edges in ((0, 0, *photo), box):
        one = Placement(Frame(photo, edges, (224, 192)), (grid, grid), (32, 31.5), (15.5, 7))
        other = one.resized(size)
        assert other.frame.sees_all == one.frame.sees_all and other.frame.original == size
        x, y = 0.3 * photo[0], 0.6 * photo[1]
        moved = (x + 0.5) * size[0] / photo[0] - 0.5, (y + 0.5) * size[1] / photo[1] - 0.5
        np.testing.assert_allclose(other.cell_at(*moved), one.cell_at(x, y), rtol=1e-7, atol=1e-7)


def test_what_may_be_set() -> None:
    assert load_settings(environ={}).render.max_side == 0
    for value, said in ((511, "512 or more"), (-1, "greater than or equal to 0"), (1.5, "integer"), (True, "true")):
        with pytest.raises(ConfigError, match=rf"render.max_side.*{said}"):
            load_settings(environ={}, overrides={"render": {"max_side": value}})


def test_small_photographs_are_drawn_so_many_times_as_large_as_asked(model: camserve.Model) -> None:
    found = model.explain(picture(size=(90, 70)))
    sizes = [found.overlay(min_side=side).size for side in (1, 90, 91, 256)]
    assert sizes == [(90, 70), (90, 70), (180, 140), (270, 210)]
    assert found.overlay(min_side=512, legend=True).size == (540, 420)


def test_smooth_is_the_setting_s_choice_where_nothing_is_said(model: camserve.Model) -> None:
    found = model.explain(picture(size=(90, 70)))
    smooth, straight = (found.overlay(smooth=choice).tobytes() for choice in (True, False))
    assert found.overlay().tobytes() == smooth != straight
