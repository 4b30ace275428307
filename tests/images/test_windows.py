"""Which values are black and white in pictures of more than 8 bits, and that it is said."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tiffs import Page, tiff

import camserve
from camserve.errors import ImageError
from camserve.images.reading import Photo, read_photo
from camserve.images.windows import window_of

NOISE = np.random.default_rng(0).random((60, 70))


def read(source: Any) -> Photo:
    return read_photo(source, max_pixels=10_000_000, max_side=65535, max_bytes=25 * 2**20)


def spread(low: float, high: float, dtype: str) -> npt.NDArray[Any]:
    """Values evenly from low to high, both included."""
    values = low + NOISE * (high - low)
    values[0, :2] = low, high
    return np.rint(values).astype(dtype) if dtype[0] != "f" else values.astype(dtype)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "white", "said"),
    [
        (0, 65535, "u2", 65535, None),
        (0, 17000, "u2", 65535, None),
        (
            0,
            16383,
            "u2",
            16383,
            "16-bit values reach 16368, so they are read as 14-bit values: black is 0 and white 16383",
        ),
        (900, 4095, "u2", 4095, "12-bit values"),
        (0, 1023, "u2", 1023, "10-bit values"),
        (0, 255, "u2", 255, "8-bit values"),
        (0, 3, "u2", 255, "8-bit values"),
        (7, 7, "u2", 255, "8-bit values"),
        (0, 32767, "i2", 32767, None),
        (0, 4095, "i2", 4095, "16-bit values .* 12-bit values"),
        (0, 65535, "i4", 65535, "32-bit values .* 16-bit values"),
        (0, 255, "u4", 255, "32-bit values .* 8-bit values"),
        (0, 1, "f4", 1, None),
        (0.1, 0.3, "f4", 1, None),
        (0.7, 0.7, "f4", 1, None),
        (
            -0.03,
            1.04,
            "f4",
            1,
            "its values go from -0.03 to 1.04, taken as 0 to 1; what lies outside is black or white",
        ),
        (0, 255, "f8", 255, "floats reach 254.771, so black is 0 and white 255"),
        (0, 60000, "f4", 65535, "so black is 0 and white 65535"),
    ],
)
def test_a_window_that_belongs_to_a_kind_of_file(low: float, high: float, dtype: str, white: float, said: Any) -> None:
    window = window_of(spread(low, high, dtype))
    assert (window.black, window.white) == (0, white)
    assert window.note is None if said is None else _matches(said, window.note)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-1000, 3000, "i2"),
        (29000, 31000, "u2"),
        (0, 3_000_000_000, "u4"),
        (-5, -5, "i4"),
        (0, 0.06, "f4"),
        (-1, 4, "f4"),
        (0, 40, "f4"),
        (290, 310, "f8"),
        (0.5, 0.55, "f4"),
        (0, 1e6, "f4"),
    ],
)
def test_a_window_from_least_to_greatest(low: float, high: float, dtype: str) -> None:
    values = spread(low, high, dtype)
    window = window_of(values)
    ordered = np.sort(values.ravel()).astype(float)
    assert (window.black, window.white) == (ordered[4], ordered[-5])  # of 4200, 4 at either end may lie outside
    assert _matches("does not say which of its values are black and white, so .* may get other limits", window.note)


@pytest.mark.parametrize(("dtype", "white", "beyond"), [("f4", 1, 1.02), ("f4", 1, 1e9), ("u2", 1023, 65535)])
def test_one_pixel_darkens_no_picture(dtype: str, white: float, beyond: float) -> None:
    values = spread(0, white, dtype)
    before = np.asarray(read(tiff(Page(values))).image).astype(int)
    values[30, 30] = beyond
    photo = read(tiff(Page(values)))
    after = np.asarray(photo.image).astype(int)
    assert after[30, 30].tolist() == [255, 255, 255]
    after[30, 30] = before[30, 30]
    assert np.array_equal(before, after) and _matches("what lies outside is black or white", photo.notes[0])


def test_colours_share_a_window() -> None:
    values = np.stack([spread(0, 4095, "u2"), spread(0, 100, "u2"), spread(0, 300, "u2")], 2)
    photo = read(tiff(Page(values, 2)))
    assert np.array_equal(np.asarray(photo.image), np.rint(values * (255 / 4095)).astype(np.uint8))


def test_8_bits_are_never_touched() -> None:
    values = spread(100, 110, "u1")
    for source in (values, tiff(Page(values)), tiff(Page(values, planar=2)), tiff(Page(255 - values, 0, planar=2))):
        photo = read(source)
        assert photo.notes == () and np.array_equal(np.asarray(photo.image)[..., 0], values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_number_that_is_none_is_found_wherever_it_is(bad: float) -> None:
    values = np.tile(NOISE, (30, 30)).astype("f4")  # more than are looked at for the window
    values[1001, 1001] = bad
    with pytest.raises(ImageError, match="NaN or infinite"):
        read(tiff(Page(values)))


def png(colour: int, values: npt.NDArray[Any], key: tuple[int, ...] = ()) -> bytes:
    """A PNG of 16 bits, (H, W, samples), by hand. colour: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    parts = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_png_of_16_bits_that_uses_fewer(colour: int, samples: int, bits: int) -> None:
    values = np.repeat(spread(0, 2**bits - 1, "u2")[..., None], samples, 2)
    values[..., 1::2] //= 2 if colour == 2 else 1
    if colour in (4, 6):
        values[..., -1] = 65535
    photo = read(png(colour, values))
    colours = values if colour in (0, 2) else values[..., :-1]
    expected = np.broadcast_to(np.rint(colours * (255 / (2**bits - 1))), (60, 70, 3))
    assert np.array_equal(np.asarray(photo.image), expected)
    assert _matches(f"16-bit values reach .* {bits}-bit values", photo.notes[0])


def test_a_transparent_value_of_a_png_is_white_and_counts_for_no_window() -> None:
    grey = spread(0, 1023, "u2")[..., None]
    grey[:30] = 65535
    photo = read(png(0, grey, (65535,)))
    assert (np.asarray(photo.image)[:30] == 255).all() and "10-bit values" in photo.notes[0]
    values = np.repeat(spread(1, 1023, "u2")[..., None], 3, 2)
    values[:9] = 7, 8, 9
    seen = np.asarray(read(png(2, values, (7, 8, 9))).image)
    assert (seen[:9] == 255).all() and np.array_equal(seen[9:], np.rint(values[9:] * (255 / 1023)))


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_that_uses_them_is_as_pillow_reads_it(colour: int, samples: int) -> None:
    values = np.repeat(spread(0, 65535, "u2")[..., None], samples, 2)
    values[..., -1] = 65535 if colour in (4, 6) else values[..., -1]
    photo = read(png(colour, values))
    assert photo.notes == () and np.array_equal(np.asarray(photo.image)[..., 0], values[..., 0] >> 8)


def test_a_pillow_image_is_windowed_as_its_file_is() -> None:
    for values in (spread(0, 1000, "u2"), spread(-9, 9, "i4"), spread(0, 30, "f4")):
        image = Image.fromarray(values)
        photo = read(image)
        assert photo.notes == read(tiff(Page(values))).notes != ()
        assert np.array_equal(np.asarray(photo.image), np.asarray(read(tiff(Page(values))).image))


def test_an_animation_is_said_to_be_one() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "AVIF"):
        for more, notes in ([], ()), (frames[1:], ("only the first picture of this animation is explained",)):
            buffer = io.BytesIO()
            frames[0].save(buffer, format, save_all=True, append_images=more)
            assert read(buffer.getvalue()).notes == notes, format


def test_what_was_done_is_a_warning_of_the_explanation() -> None:
    model = camserve.load("efficientnet-lite0")
    explanation = model.explain(tiff(Page(spread(0, 1023, "u2"))))
    assert explanation.photo.notes and explanation.warnings[-1:] == explanation.photo.notes


def _matches(pattern: str, note: str | None) -> bool:
    assert note is not None
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(note)
    return True
