"""TIFFs packed as neither Pillow nor camserve unpacks them, as tifffile writes them with imagecodecs."""

import importlib
import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tiffs import Page, tiff

from camserve import errors
from camserve.images.coded_sizes import coded_size
from camserve.images.reading import Photo, read_photo

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def tifffile() -> Any:
    """With what it needs to write these."""
    for name in ("tifffile", "imagecodecs"):
        pytest.importorskip(name, reason=f"{name} is not installed: camserve[pictures]")
    return importlib.import_module("tifffile")


def read(source: Any, max_pixels: int = 10_000_000) -> Photo:
    return read_photo(source, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20)


def pixels(source: Any) -> npt.NDArray[np.int64]:
    return np.asarray(read(source).image).astype(np.int64)


def written(tifffile: Any, values: npt.NDArray[Any], compression: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    meaning = "rgb" if 3 in (values.shape[0], values.shape[-1]) else "minisblack"
    tifffile.imwrite(buffer, values, compression=compression, **{"photometric": meaning, **options})
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "jpegxl", "png", "lerc"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (32, 32)}, {}])
def test_pixels_are_those_that_were_saved(tifffile: Any, compression: str, layout: dict[str, Any]) -> None:
    more = {"compressionargs": {"lossless": True}} if compression in ("webp", "jpegxl") else {}
    data = written(tifffile, NOISE, compression, **layout, **more)
    assert np.array_equal(pixels(data), NOISE) and read(data).notes == ()


def test_other_numbers_and_planes(tifffile: Any) -> None:
    deep = NOISE.astype(np.uint16) * 257
    assert np.array_equal(pixels(written(tifffile, deep, "jpeg2000")), NOISE)
    planes = np.ascontiguousarray(NOISE.transpose(2, 0, 1))
    assert np.array_equal(pixels(written(tifffile, planes, "jpeg2000", planarconfig="separate")), NOISE)
    grey = np.broadcast_to(NOISE[..., :1], NOISE.shape)
    assert np.array_equal(pixels(written(tifffile, NOISE[..., 0], "jpeg2000")), grey)
    inverted = written(tifffile, 255 - NOISE[..., 0], "jpeg2000", photometric="miniswhite")
    assert np.array_equal(pixels(inverted), grey)
    assert np.array_equal(pixels(written(tifffile, NOISE[..., 0].astype(np.float32) / 255, "lerc")), grey)


def test_a_jpeg_of_12_bits(tifffile: Any) -> None:
    smooth = np.add.outer(np.arange(48) * 40, np.arange(64) * 30).astype(np.uint16)
    options = {"level": 100, "bitspersample": 12}
    data = written(tifffile, smooth, "jpeg", compressionargs=options)
    assert np.abs(pixels(data)[..., 0] - np.rint(smooth * (255 / 4095))).max() <= 1


def test_the_first_page_that_is_no_reduced_copy(tifffile: Any) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(NOISE[::2, ::2], compression="jpeg2000", photometric="rgb", subfiletype=1)
        file.write(NOISE, compression="jpeg2000", photometric="rgb")
    photo = read(buffer.getvalue())
    assert np.array_equal(np.asarray(photo.image), NOISE)
    assert photo.notes == ("the file's first page, 32 x 24, is a reduced copy; page 2 is explained instead",)


def test_what_is_inside_may_not_be_larger_than_the_file_says(tifffile: Any) -> None:
    for compression in ("jpeg2000", "webp", "jpegxl", "png", "lerc"):
        data = bytearray(written(tifffile, np.zeros((320, 320, 3), np.uint8), compression))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            places = [file.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
        for place in places:
            data[place : place + 4] = struct.pack("<I", 16)
        with pytest.raises(errors.ImageError, match="this TIFF is damaged"):
            read(bytes(data))


def test_sizes_of_packed_pictures() -> None:
    for format in ("JPEG", "PNG", "WEBP", "JPEG2000"):
        for options in ({}, {"lossless": True}, {"exif": Image.Exif().tobytes() + b"Exif\0\0"}):
            if format == "WEBP" or not options:
                buffer = io.BytesIO()
                Image.fromarray(NOISE[:, :37]).save(buffer, format, **options)
                assert coded_size(buffer.getvalue()) == (37, 48), format
    assert coded_size(b"something else") is None and coded_size(b"\xff\xd8\xff") is None


def test_the_limits_are_checked_in_the_header(tifffile: Any) -> None:
    with pytest.raises(errors.ImageTooLarge, match=r"64 x 48 = 0.003072 megapixels"):
        read(written(tifffile, NOISE, "jpeg2000"), max_pixels=3071)
    with pytest.raises(errors.ImageTooLarge, match=r"0.0369 MB|8 bytes for each of limits.megapixels"):
        read(tiff(Page(NOISE.astype(np.float64), 2, more={259: 34712})), max_pixels=3072)


def test_cut_off_files_are_errors(tifffile: Any, capfd: pytest.CaptureFixture[str]) -> None:
    data = written(tifffile, NOISE, "jpeg2000", rowsperstrip=16)
    for tenth in range(1, 10):
        with pytest.raises(errors.ImageError, match="this TIFF"):
            read(data[: len(data) * tenth // 10])
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("name", ["tifffile", "imagecodecs"])
def test_without_the_libraries_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    message = (
        "'image' is a TIFF packed as JPEG 2000; reading it needs tifffile and imagecodecs. Try pip install \"camserve"
    )
    with pytest.raises(errors.ImageTypeError, match=message):
        read(tiff(Page(NOISE, 2, more={259: 34712})))


def test_scikit_image_s_own_pages_need_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats of 64 bits, channels apart, two pages: README's first command meets this file."""
    skimage = pytest.importorskip("skimage")
    path = Path(skimage.__file__).parent / "data" / "multipage_rgb.tif"
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffFile(path) as file:
        expected = np.rint(file.pages[0].asarray().transpose(1, 2, 0) * 255)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    photo = read(path)
    assert np.array_equal(np.asarray(photo.image), expected)
    assert photo.notes == ("only the first page is explained; the file has 1 more",)
