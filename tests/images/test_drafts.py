"""JPEGs decoded smaller for a network alone: what is decoded, what stays of the whole photograph, and what never is."""

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import camserve
from camserve import errors
from camserve.catalogue.options import ExplainOptions, OverlayOptions
from camserve.config import load_settings
from camserve.explain.drafting import drafting
from camserve.explain.pipeline import open_photo
from camserve.images.arrays.drafts import Size
from camserve.images.reading import Photo, read_photo
from camserve.models.inputs.preprocessing import to_array


def jpeg(size: Size, **options: Any) -> bytes:
    """Soft, so that a pixel is like its neighbours, and of no extreme colours, which are cut off at each pixel."""
    soft = picture(5, (8, 6)).resize(size, Image.Resampling.BICUBIC).point(lambda level: 64 + level // 2)
    buffer = io.BytesIO()
    soft.convert(options.pop("mode", "RGB")).save(buffer, "jpeg", quality=95, **options)
    return buffer.getvalue()


def read(data: bytes, most: float | None = None) -> Photo:
    smaller = None if most is None else lambda size: most
    return read_photo(data, max_pixels=10**8, max_side=65535, max_bytes=10**8, smaller=smaller)


TURNED = Image.Exif()
TURNED[0x0112] = 6  # a quarter to the right
LIKE: dict[str, dict[str, Any]] = {
    "plain": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "turned": {"exif": TURNED},
}


@pytest.mark.parametrize("like", LIKE)
@pytest.mark.parametrize(("most", "by"), [(1.99, 1), (2, 2), (3.9, 2), (4, 4), (8, 8), (100, 8)])
def test_a_draft_is_the_photograph_made_smaller(like: str, most: float, by: int) -> None:
    data = jpeg((320, 240), **LIKE[like])
    whole, draft = read(data), read(data, most)
    assert (draft.size, draft.sha256, draft.format, draft.name) == (whole.size, whole.sha256, "JPEG", whole.name)
    assert draft.sha256 == hashlib.sha256(data).hexdigest()
    if by == 1:
        assert np.array_equal(draft.pixels, whole.pixels) and (draft.whole, draft.notes) == (None, whole.notes)
        return
    width, height = whole.size
    assert draft.whole == (width, height) and draft.drafted == (width // by, height // by)
    mean = whole.pixels.reshape(height // by, by, width // by, by, 3).mean((1, 3))
    far = np.abs(draft.pixels - mean)
    # of 4:2:2 an eighth has one colour for two pixels, not blended into the next
    most_far, usually = (24, 3.5) if (like, by) == ("4:2:2", 8) else (12, 1.5)
    assert far.max() <= most_far and far.mean() <= usually
    assert f"decoded at 1/{by} of its size" in draft.notes[0] and draft.notes[1:] == whole.notes


@given(st.integers(1, 80), st.integers(1, 80), st.floats(0.1, 20))
def test_only_by_what_divides_both_sides(width: int, height: int, most: float) -> None:
    draft = read(jpeg((width, height)), most)
    by = width // draft.drafted[0]
    assert draft.size == (width, height) == (by * draft.drafted[0], by * draft.drafted[1])
    assert by == max(n for n in (1, 2, 4, 8) if n <= max(most, 1) and width % n == height % n == 0)


def test_nothing_else_is_decoded_smaller() -> None:
    image = picture(5, (320, 240))
    for kind in ("PNG", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        assert read(buffer.getvalue(), 8).drafted == (320, 240)
    assert read_photo(np.array(image), max_pixels=10**6, max_side=999, max_bytes=9, smaller=lambda _: 8).whole is None


def test_limits_and_damage_are_those_of_the_whole() -> None:
    data = jpeg((320, 240))
    with pytest.raises(errors.ImageTooLarge, match="0.0768 megapixels"):
        read_photo(data, max_pixels=320 * 240 - 1, max_side=999, max_bytes=10**6, smaller=lambda _: 8)
    for most in (None, 8):
        with pytest.raises(errors.ImageError, match="is cut off"):
            read(data[: len(data) // 2], most)


@pytest.fixture(scope="module")
def drafts(model: camserve.Model) -> camserve.Model:
    return camserve.load(settings=load_settings(environ={}, overrides={"images": {"draft": True}}))


@pytest.mark.parametrize("size", ["fit", "crop", 128, None])
def test_two_pixels_are_left_for_each_of_the_input(drafts: camserve.Model, size: str | int | None) -> None:
    for side in [(4000, 3000), (1600, 1200), (3000, 4000), (512, 512), (8000, 400), (640, 480)]:
        options = ExplainOptions(size=size)
        photo = open_photo(drafts, jpeg(side), drafting(drafts, options))
        for frame in (drafts.frame(side, size), drafts.frame(side, "crop"), drafts.own_frame(side)):
            across, down = frame.resized(photo.drafted).scale
            assert photo.whole is None or max(across, down) <= 0.5 + 1e-9
        if side == (4000, 3000):
            assert photo.drafted == (1000, 750)


@pytest.mark.parametrize("size", ["fit", "crop"])
def test_the_network_sees_the_same_place(drafts: camserve.Model, size: str) -> None:
    data = jpeg((1600, 1200))
    whole, draft = open_photo(drafts, data), open_photo(drafts, data, drafting(drafts, ExplainOptions()))
    assert draft.drafted == (800, 600) and drafts.frame(draft.size, size) == drafts.frame(whole.size, size)
    frame, spec = drafts.frame(whole.size, size), drafts.card.input
    one, other = (128 * to_array(photo, frame, spec) for photo in (draft, whole))  # in levels
    assert one.shape == other.shape and np.abs(one - other).max() <= 6
    made = drafts.explain(draft)
    assert made.size == (1600, 1200) and made.placement == drafts.explain(whole).placement
    assert made.heatmap.shape == (1200, 1600) and made.mask_image().size == (1600, 1200)


def test_nobody_paints_on_a_draft(drafts: camserve.Model) -> None:
    made = drafts.explain(open_photo(drafts, jpeg((1600, 1200)), drafting(drafts, ExplainOptions())))
    with pytest.raises(errors.OptionError, match=r"was decoded smaller for the network, .* Try images.draft = false"):
        made.drawn(OverlayOptions())


def test_where_photographs_are_decoded_in_full(model: camserve.Model, drafts: camserve.Model) -> None:
    assert not load_settings(environ={}).images.draft and drafting(model, ExplainOptions()) is None
    assert drafting(drafts, ExplainOptions()) is not None
    for options in (ExplainOptions(size="native"), ExplainOptions(sharp=True)):
        assert drafting(drafts, options) is None
    assert drafts.explain(jpeg((1600, 1200))).photo.whole is None  # in Python an overlay may be asked for
