"""Every kind of TIFF that people have: read as numbers written by hand, as tifffile reads them, or refused in words."""

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tiffs import Page, tiff

from camserve import errors
from camserve.images import samples
from camserve.images.reading import Photo, read_photo

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
WHITES = {"u1": 255, "u2": 65535, "u4": 65535, "u8": 65535, "i1": 127, "i2": 32767, "i4": 65535, "i8": 65535}
NOISE = np.random.default_rng(0).random((23, 37, 3))
NOISE[0, :2] = [[0, 0, 0], [1, 1, 1]]


def read(source: Any, max_pixels: int = 10_000_000) -> Photo:
    return read_photo(source, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20)


def pixels(source: Any) -> npt.NDArray[np.int64]:
    return np.asarray(read(source).image).astype(np.int64)


def numbers(dtype: str, samples: int = 1) -> npt.NDArray[Any]:
    return (NOISE[..., :samples] * WHITES.get(dtype, 1)).astype(dtype)


def shown(values: npt.NDArray[Any], white: float) -> npt.NDArray[np.float64]:
    """What is to be seen, (H, W, 3), for black 0."""
    return np.broadcast_to(np.rint(values.astype(float) * 255 / white), (*values.shape[:2], 3))


KINDS = [
    (dtype, samples, order, compression, planar, photometric)
    for dtype, (samples, photometric), order, compression, planar in itertools.product(
        DTYPES, [(1, 1), (1, 0), (3, 2)], "<>", [1, 5, 8, 32773], [1, 2]
    )
]


@pytest.mark.parametrize(("dtype", "samples", "order", "compression", "planar", "photometric"), KINDS)
def test_the_whole_table(dtype: str, samples: int, order: str, compression: int, planar: int, photometric: int) -> None:
    values = numbers(dtype, samples)
    data = tiff(Page(values, photometric, order, compression, planar))
    expected = shown(values, WHITES.get(dtype, 1))
    expected = 255 - expected if photometric == 0 else expected
    assert np.abs(pixels(data) - expected).max() <= (photometric == 0)  # a half may be rounded either way


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_as_tifffile_writes_and_reads(dtype: str, planar: str, compression: str | None, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = numbers(dtype, 3)
    buffer, stored = io.BytesIO(), values if planar == "contig" else values.transpose(2, 0, 1)
    options = {"photometric": "rgb", "planarconfig": planar, "compression": compression, "rowsperstrip": 5}
    tifffile.imwrite(buffer, np.ascontiguousarray(stored), byteorder=order, **options)
    assert np.array_equal(pixels(buffer.getvalue()), shown(values, WHITES.get(dtype, 1)))
    by_hand = tifffile.imread(io.BytesIO(tiff(Page(values, 2, order, planar=2 if planar == "separate" else 1))))
    assert np.array_equal(by_hand if planar == "contig" else by_hand.transpose(1, 2, 0), values)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("layout", ["strips", "tiles", "BigTIFF"])
def test_predictors_tiles_and_big_files(dtype: str, order: str, planar: int, layout: str) -> None:
    values = numbers(dtype, 3)
    predictor = 3 if dtype[0] == "f" else 2
    page = Page(values, 2, order, 8, planar, predictor, tile=(16, 32) if layout == "tiles" else None)
    assert np.array_equal(pixels(tiff(page, big=layout == "BigTIFF")), shown(values, WHITES.get(dtype, 1)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_what_pillow_compresses(mode: str, compression: str) -> None:
    values = numbers("u2" if mode == "I;16" else "f4")[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", compression=compression)
    assert np.array_equal(pixels(buffer.getvalue()), shown(values[..., None], 65535 if mode == "I;16" else 1))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_without_gaps_have_the_bits_they_say(bits: int) -> None:
    values = (NOISE[..., :1] * (2**bits - 1) / 8).astype(np.uint16)
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values[..., 0].tolist()]
    size = -(-len(rows[0]) // 8)
    packed = np.array([list(int(row.ljust(size * 8, "0"), 2).to_bytes(size, "big")) for row in rows], np.uint8)
    data = tiff(Page(packed, more={256: values.shape[1], 258: bits}))
    assert np.array_equal(pixels(data), shown(values, 2**bits - 1)) and read(data).notes == ()


@pytest.mark.parametrize(("bits", "samples"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (4, 3), (12, 3)])
@pytest.mark.parametrize(("planar", "photometric"), [(1, 1), (2, 1), (1, 0), (2, 0)])
def test_few_bits(bits: int, samples: int, planar: int, photometric: int) -> None:
    values = (NOISE[..., :samples] * (2**bits - 1)).round().astype(np.uint16)
    planes = np.moveaxis(values, 2, 0)[..., None] if planar == 2 else values[None]
    rows = [["".join(f"{v:0{bits}b}" for v in row.ravel().tolist()) for row in plane] for plane in planes]
    size = -(-len(rows[0][0]) // 8)
    packed = [[list(int(r.ljust(size * 8, "0"), 2).to_bytes(size, "big")) for r in plane] for plane in rows]
    meaning = 2 if samples == 3 else photometric
    page = Page(np.moveaxis(np.array(packed, np.uint8), 0, 2), meaning, planar=planar)
    page.more.update({256: values.shape[1], 258: [bits] * samples, 277: samples, 339: None})
    expected = shown(values, 2**bits - 1)
    seen = pixels(tiff(page))
    assert np.abs(seen - (255 - expected if meaning == 0 else expected)).max() <= (meaning == 0)


@pytest.mark.parametrize("step", [1, 257])
def test_a_palette_of_8_or_16_bits(step: int) -> None:
    values = np.array([[0, 1, 2, 255]], np.uint8)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    data = tiff(Page(values, 3, more={320: (colours * step).ravel().tolist()}))
    assert np.array_equal(pixels(data)[0], colours.T[[0, 1, 2, 255]])


def test_bits_from_the_other_end() -> None:
    values = numbers("u2")
    turned = np.array([int(f"{byte:08b}"[::-1], 2) for byte in values.tobytes()], np.uint8)
    stored = turned.view(np.uint16).reshape(values.shape)
    assert np.array_equal(pixels(tiff(Page(stored, more={266: 2}))), shown(values, 65535))


def test_transparency_lies_over_white() -> None:
    values = np.array([[[100, 200, 300, 65535], [0, 0, 65535, 0], [65535, 0, 0, 32896]]], np.uint16)
    straight = Page(values, 2, more={338: 2})
    assert pixels(tiff(straight))[0].tolist() == [[0, 1, 1], [255] * 3, [255, 127, 127]]
    soaked = Page(np.array([[[32768, 0, 0, 32768], [65535, 0, 0, 65535]]], np.uint16), 2, more={338: 1})
    assert pixels(tiff(soaked))[0].tolist() == [[255, 127, 127], [255, 0, 0]]


def test_further_channels_are_said() -> None:
    values = np.concatenate([numbers("u2", 3), numbers("u2", 1)], 2)
    photo = read(tiff(Page(values, 2, more={338: 0})))
    assert photo.notes == ("1 of 4 channels are left out, because they are not marked as colours",)
    assert np.array_equal(np.asarray(photo.image), shown(values[..., :3], 65535))
    for dtype in ("u1", "u2"):
        assert "fourth channel is; it is taken as transparency" in read(tiff(Page(values.astype(dtype), 2))).notes[0]


def test_cmyk_of_16_bits() -> None:
    ink = np.array([[[0, 65535, 65535, 0], [0, 0, 0, 65535], [0, 0, 0, 0]]], np.uint16)
    for planar, order in itertools.product([1, 2], "<>"):
        data = tiff(Page(ink, 5, order, planar=planar))
        assert pixels(data)[0].tolist() == [[255, 0, 0], [0, 0, 0], [255, 255, 255]]


def test_a_file_that_does_not_say_what_0_is() -> None:
    for dtype in ("u1", "u2"):
        photo = read(tiff(Page(numbers(dtype), more={262: None})))
        assert photo.notes == ("the file does not say whether 0 is black or white; 0 is taken as black",)
        assert np.array_equal(np.asarray(photo.image), shown(numbers(dtype), WHITES[dtype]))


COPY, MAIN = np.full((4, 6), 50, np.uint8), np.full((20, 30), 200, np.uint8)


def test_the_first_page_that_is_no_reduced_copy() -> None:
    reduced = Page(COPY, more={254: 1})
    photo = read(tiff(reduced, Page(MAIN)))
    assert photo.size == (30, 20) and photo.image.getpixel((3, 3)) == (200, 200, 200)
    assert photo.notes == ("the file's first page, 6 x 4, is a reduced copy; page 2 is explained instead",)
    for order, big in itertools.product("<>", [False, True]):
        inside = Page(COPY, order=order, more={254: 1}, children=(Page(MAIN, order=order),))
        photo = read(tiff(inside, big=big))
        assert photo.size == (30, 20) and "a page inside another is explained" in photo.notes[0]
    deep = read(tiff(Page(COPY, more={255: 2}), Page(MAIN.astype(np.uint16) * 257)))
    assert deep.size == (30, 20) and deep.image.getpixel((0, 0)) == (200, 200, 200)


def test_other_pages_are_said() -> None:
    assert read(tiff(Page(MAIN))).notes == ()
    assert read(tiff(Page(MAIN), Page(COPY, more={254: 1}))).notes == ()  # a pyramid: its copies are no others
    assert read(tiff(Page(MAIN), Page(COPY, more={254: 4}, photometric=4))).notes == ()  # a mask
    assert read(tiff(Page(MAIN), Page(MAIN))).notes == ("only the first page is explained; the file has 1 more",)
    photo = read(tiff(Page(COPY), Page(COPY), Page(MAIN)))
    assert photo.size == (6, 4)
    assert photo.notes == ("only the first page is explained; the file has 2 more, the largest 30 x 20",)
    only = read(tiff(Page(COPY, more={254: 1})))
    assert only.notes == ("the file marks its only picture as a reduced copy, but does not contain the original",)


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_a_raw_file_is_not_explained_by_its_preview(photometric: int) -> None:
    raw = Page(MAIN.astype(np.uint16), photometric)
    for data in (tiff(Page(COPY, more={254: 1}, children=(raw,))), tiff(raw), tiff(Page(COPY), raw)):
        with pytest.raises(errors.ImageTypeError, match="'image' seems to be a camera's raw file .* Try developing it"):
            read(data)
    with pytest.raises(errors.ImageTypeError, match="raw file"):
        read(tiff(Page(MAIN, more={50706: b"\1\4\0\0"})))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            Page(numbers("u2", 3), 8),
            "3 samples a pixel, 16 bits, unsigned, CIELAB, uncompressed. Try saving it as an 8",
        ),
        (Page(numbers("u2", 3), 1), "3 channels that are not marked as colours .* Try saving three of them"),
        (Page(numbers("u2"), 3), "16 bits, unsigned, palette"),
        (Page(numbers("u2"), more={259: 34934}), "16 bits, unsigned, black is zero, JPEG XR"),
        (Page(numbers("u1"), more={259: 34934}), "8 bits, unsigned, black is zero, JPEG XR"),
        (Page(numbers("u2"), more={317: 3}), "black is zero, uncompressed, predictor 3"),
        (Page(numbers("u4"), more={258: 24}), "one sample a pixel, 24 bits"),
        (Page(numbers("f4"), more={339: 6}), "32 bits, complex"),
        (Page(numbers("u1", 3), 2, more={258: [8, 8, 16]}), "mixed bits, unsigned, RGB"),
        (Page(numbers("u1", 2), 0), "2 samples a pixel, 8 bits, unsigned, white is zero"),
    ],
)
def test_other_kinds_are_refused_in_words(page: Page, message: str) -> None:
    with pytest.raises(errors.ImageError, match=message) as caught:
        read(tiff(page))
    assert "Try" in str(caught.value) and "damaged" not in str(caught.value)


@pytest.mark.parametrize("compression", [5, 8, 32773])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.skipif(sys.platform == "win32", reason="Pillow's library is part of Pillow there, and cannot be silenced")
def test_cut_off_files_are_errors_and_silent(dtype: str, compression: int, tmp_path: Path) -> None:
    page = Page(numbers(dtype), compression=compression, rows=100, more={279: 200})
    (tmp_path / "a.tif").write_bytes(tiff(page))
    code = f"""if True:
        from camserve.errors import ImageError
        from camserve.images.reading import read_photo
        try:
            read_photo({str(tmp_path / "a.tif")!r}, max_pixels=10**6, max_side=9999, max_bytes=2**24)
        except ImageError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "" and "cannot be decoded: this TIFF" in done.stdout


def test_a_strip_that_is_too_short_is_cut_off() -> None:
    data = tiff(Page(numbers("u2"), more={273: [10**6] * 4}))
    with pytest.raises(errors.ImageError, match=r"cut off \(truncated\)"):
        read(data)


def test_the_limits_hold_before_anything_is_unpacked() -> None:
    with pytest.raises(errors.ImageTooLarge, match="37 x 23 = 0.000851 megapixels"):
        read(tiff(Page(numbers("u2"))), max_pixels=850)
    with pytest.raises(errors.ImageTooLarge, match="a tile of 'image' is 16384 x 16384"):
        read(tiff(Page(numbers("u2"), tile=(32, 48), more={322: 2**14, 323: 2**14})))
    with pytest.raises(errors.ImageTooLarge, match="has 0.0136.* MB of pixels .* 8 bytes for each of"):
        read(tiff(Page(np.zeros((23, 37, 2), "f8"), more={338: 0})), max_pixels=851)
    with pytest.raises(errors.ImageTooLarge, match="a strip of 2.*e\\+02 MB|has a strip of"):
        read(tiff(Page(numbers("u2"), compression=5, rows=2**15, more={256: 2**13, 257: 2**13 + 1})), max_pixels=10**8)


def test_pillow_s_own_limit_holds_for_what_only_pillow_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 425)
    monkeypatch.setattr(samples, "_TOGETHER", 1)  # a strip at a time, 333 bytes
    for compression in (1, 5, 8, 32773):
        data = tiff(Page(numbers("u1", 3), 2, compression=compression, rows=3))
        assert np.array_equal(pixels(data), shown(numbers("u1", 3), 255))
    buffer = io.BytesIO()
    Image.fromarray(numbers("u1", 3)).save(buffer, "TIFF", compression="jpeg")
    message = r"0.000851 megapixels; allowed in a TIFF are 0.00085 \(twice Pillow's PIL.Image.MAX_IMAGE_PIXELS\)"
    with pytest.raises(errors.ImageTooLarge, match=message):
        read(buffer.getvalue())


def test_chains_that_lead_in_circles_end() -> None:
    data = bytearray(tiff(Page(MAIN), Page(MAIN)))
    first = int.from_bytes(data[4:8], "little")
    data[-4:] = first.to_bytes(4, "little")
    assert read(bytes(data)).notes == ("only the first page is explained; the file has 1 more",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_deep_pictures_are_turned_like_others(dtype: str, orientation: int) -> None:
    values = numbers(dtype)
    turned = pixels(tiff(Page(values, more={274: orientation})))
    image = Image.fromarray(shown(values, WHITES[dtype]).astype(np.uint8))
    image.getexif()[274] = orientation
    assert np.array_equal(turned, np.asarray(read(image).image))
