"""Pictures of bands: every number of a file as it is, upright, and what is drawn of it."""

import io
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tiffs import Page, tiff

from camserve.errors import ImageError, ImageTooLarge, ImageTypeError
from camserve.images.bands import Bands, read_bands, upright
from camserve.images.pixels import TURNS
from camserve.images.reading import Photo

NOISE = np.random.default_rng(0).random((23, 37, 6))
WHITES = {"u1": 255, "u2": 4000, "i2": 4000, "f4": 1}
ALL = Bands((0, 1, 2, 3, 4, 5), (2, 1, 0))


def read(source: Any, bands: Bands = ALL, max_pixels: int = 10_000_000) -> Photo:
    return read_bands(source, bands, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20)


def numbers(dtype: str, samples: int = 6) -> npt.NDArray[Any]:
    return (NOISE[..., :samples] * WHITES[dtype]).astype(dtype)


def bands_of(photo: Photo) -> npt.NDArray[Any]:
    assert photo.bands is not None
    return photo.bands


@pytest.mark.parametrize(
    ("dtype", "order", "compression", "planar", "photometric"),
    list(itertools.product(WHITES, "<>", [1, 5, 8], [1, 2], [1, 2])),
)
def test_a_tiff_s_samples_are_read_as_they_are(
    dtype: str, order: str, compression: int, planar: int, photometric: int
) -> None:
    values = numbers(dtype)
    photo = read(
        tiff(Page(values, photometric, order, compression, planar, more={338: [0] * (6 - 2 * photometric + 1)}))
    )
    assert np.array_equal(bands_of(photo), values)
    assert photo.format == "TIFF"
    assert photo.image.size == (37, 23)


def test_tiles_and_big_files_too() -> None:
    values = numbers("u2")
    assert np.array_equal(bands_of(read(tiff(Page(values, tile=(16, 16)), big=True))), values)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_tiff_s_bands_are_upright_as_its_picture_is(orientation: int) -> None:
    values = numbers("u1", 3)
    data = tiff(Page(values, 2, more={274: orientation}))
    photo = read(data, Bands((0, 1, 2), (0, 1, 2)))
    assert np.array_equal(bands_of(photo), np.asarray(photo.image))
    assert np.array_equal(bands_of(photo), np.asarray(Image.fromarray(values).transpose(TURNS[orientation])))


def test_every_turn_is_pillow_s() -> None:
    values = numbers("u1", 3)
    for turn in Image.Transpose:
        assert np.array_equal(upright(values, turn), np.asarray(Image.fromarray(values).transpose(turn)))


def test_a_jpeg_s_turn_counts() -> None:
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    Image.fromarray(numbers("u1", 3)).save(buffer, "JPEG", exif=exif)
    photo = read(buffer.getvalue(), Bands((1,), (1,)))
    assert bands_of(photo).shape == (37, 23, 3)
    assert np.array_equal(np.asarray(photo.image)[..., 0], bands_of(photo)[..., 1])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_png_has_as_many_samples_as_it_has_channels(mode: str) -> None:
    values = numbers("u1", len(mode))
    buffer = io.BytesIO()
    Image.fromarray(values if len(mode) > 1 else values[..., 0], mode).save(buffer, "PNG")
    every = tuple(range(len(mode)))
    assert np.array_equal(bands_of(read(buffer.getvalue(), Bands(every, every[:1]))), values)
    with pytest.raises(ImageError, match=f"'image' has {len(mode)} samples a pixel; this model takes the bands 4"):
        read(buffer.getvalue(), Bands((4,), (4,)))


def test_a_png_of_16_bits_keeps_them() -> None:
    import cv2

    values = numbers("u2", 4)
    coded = cv2.imencode(".png", values[..., [2, 1, 0, 3]])[1].tobytes()
    assert np.array_equal(bands_of(read(coded, Bands((0, 1, 2, 3), (0, 1, 2)))), values)


def test_palettes_are_colours() -> None:
    picture = Image.fromarray(numbers("u1", 3)).quantize(16)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    photo = read(buffer.getvalue(), Bands((0, 1, 2), (0, 1, 2)))
    assert np.array_equal(bands_of(photo), np.asarray(picture.convert("RGB")))


def test_what_is_drawn_is_windowed_and_8_bits_are_not() -> None:
    values = numbers("u2")
    photo = read(tiff(Page(values)))
    assert photo.notes == (
        "the picture's 16-bit values reach 3998, so they are read as 12-bit values: black is 0 and white 4095",
    )
    assert np.array_equal(np.asarray(photo.image), np.rint(values[..., [2, 1, 0]] * (255 / 4095)))
    small = numbers("u1") // 8
    assert np.array_equal(np.asarray(read(tiff(Page(small))).image), small[..., [2, 1, 0]])


def test_limits_hold() -> None:
    with pytest.raises(ImageTooLarge, match="limits.megapixels"):
        read(numbers("u1"), max_pixels=100)
    with pytest.raises(ImageTooLarge, match="limits.megapixels"):
        read(tiff(Page(numbers("u1"))), max_pixels=100)
    with pytest.raises(ImageTooLarge, match="MB of pixels"):
        read(tiff(Page(numbers("f4"))), max_pixels=37 * 23 + 1)
    with pytest.raises(ImageTypeError, match="seems to be text; allowed are JPEG"):
        read(b"nothing at all")
    with pytest.raises(ImageError, match="cannot be decoded"):
        read(tiff(Page(numbers("u2"), compression=8))[:2000])


def test_the_hash_of_an_array_is_of_its_numbers_and_kind() -> None:
    values = numbers("u1")
    hashes = {read(one).sha256 for one in (values, values.astype("u2"), values + 1, values[:, ::-1])}
    assert len(hashes) == 4
    assert read(values).sha256 == read(values.copy()).sha256


def test_the_caller_s_array_is_not_held() -> None:
    values = numbers("f4")
    photo = read(values)
    values[:] = 7
    assert not np.array_equal(bands_of(photo), values)


def test_a_tiff_packed_as_only_tifffile_unpacks_it() -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    buffer, values = io.BytesIO(), numbers("u2", 4)
    tifffile.imwrite(buffer, values, compression="jpeg2000", photometric="minisblack", planarconfig="contig")
    assert np.array_equal(bands_of(read(buffer.getvalue(), Bands((0, 3), (3,)))), values)


def test_what_pillow_alone_unpacks_is_read_by_it() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).save(buffer, "TIFF", compression="jpeg")
    found = bands_of(read(buffer.getvalue(), Bands((2, 0), (0,))))
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 3
