"""Formats, limits and errors of camserve.images.reading; for modes see test_pixels.py, for sources test_sources.py."""

import inspect
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camserve import errors
from camserve.config import load_settings
from camserve.images.decoding import READERS
from camserve.images.reading import OUTPUTS, SUBSAMPLINGS, Photo, encode, read_photo


@pytest.fixture
def hostile(data: Path) -> Path:
    """Pictures made to break readers, which are not part of the project."""
    if not (data / "hostile").is_dir():
        pytest.skip("no hostile/ in the folder that CAMSERVE_TEST_DATA names")
    return data / "hostile"


def read(source: Any, max_pixels: int = 50_000_000, max_side: int = 65535) -> Photo:
    photo = read_photo(source, max_pixels=max_pixels, max_side=max_side, max_bytes=25 * 2**20)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels would begin."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header) - 4)
    return begin + header + struct.pack(">I", zlib.crc32(header)) + bytes(4) + b"IDAT"


GRADIENT = Image.fromarray(np.add.outer(np.arange(40), 3 * np.arange(60)).astype(np.uint8)).convert("RGB")


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        data = file_of(frames[0], format, save_all=True, append_images=frames[1:])
        red, green, blue = read(data).image.getpixel((1, 1))  # type: ignore[misc]
        assert red > 250 and green < 5 and blue < 5, format


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_the_narrowest_pictures(size: tuple[int, int]) -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        assert read(file_of(Image.new("RGB", size), format), max_pixels=4000).size == size


def test_the_limit_of_pixels_is_checked_in_the_header() -> None:
    assert read(file_of(GRADIENT), max_pixels=2400).size == (60, 40)
    message = r"'image' is 60 x 40 = 0\.0024 megapixels; allowed are 0\.002399 \(limits\.megapixels\)\. Try"
    for source in (file_of(GRADIENT), GRADIENT, np.asarray(GRADIENT)):
        with pytest.raises(errors.ImageTooLarge, match=message.replace("image", "(image|array)")):
            read(source, max_pixels=2399)
    with pytest.raises(errors.ImageTooLarge, match="100000 x 100000 = 1e\\+04 megapixels"):
        read(png_of(100_000, 100_000))


def test_the_limit_of_a_side_is_checked_in_the_header() -> None:
    assert read(file_of(GRADIENT), max_side=60).size == (60, 40)
    message = r"is 60 x 40; allowed are 59 pixels a side \(limits\.side\)\. Try"
    for source in (file_of(GRADIENT), GRADIENT, np.asarray(GRADIENT)):
        with pytest.raises(errors.ImageTooLarge, match=message):
            read(source, max_side=59)
    for size in ((1, 50_000_000), (50_000_000, 1)):
        with pytest.raises(errors.ImageTooLarge, match=f"'image' is {size[0]} x {size[1]}; allowed are 65535"):
            read(png_of(*size))


def test_a_small_tiff_with_a_huge_tile_is_too_large() -> None:
    packed = zlib.compress(bytes(2**20))
    tags = {256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**14, 323: 2**14, 324: 8, 325: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<I", 8 + len(packed))
    data = header + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(errors.ImageTooLarge, match="a tile of 'image' is 16384 x 16384"):
        read(data)


JPEG = file_of(GRADIENT, "JPEG")


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (b"", "ImageError", r"'image' is empty$"),
        ("nowhere.jpg", "ImageError", "cannot read 'nowhere.jpg': No such file or directory"),
        ("https://example.org/a.jpg", "ImageError", "URLs are not fetched: download it first"),
        (Path(__file__).parent, "ImageError", "it is a folder and no file"),
        ("a\0b", "ImageError", "null byte"),
        (io.StringIO("text"), "ImageError", r"open as text; .* try open\(..., 'rb'\)"),
        (None, "ImageError", "a NoneType is not an image; allowed are a path"),
        (np.zeros((4, 4, 3)), "ImageError", r"an array of float64 \(4, 4, 3\) .*\(255 \* array\)"),
        (np.zeros((3, 8, 8), np.uint8), "ImageError", r"uint8 \(3, 8, 8\) .* Try array.transpose\(1, 2, 0\)"),
        (np.zeros((0, 4, 3), np.uint8), "ImageError", "'array' is 4 x 0 pixels; allowed are 1 x 1 or more"),
        (JPEG[:400], "ImageError", r"'image' cannot be decoded: this JPEG is cut off \(truncated\)\. Try"),
        (JPEG[:20] + bytes(600), "ImageError", "this JPEG is damaged"),
        (b"GIF89a", "ImageError", "this GIF is damaged"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomavc1", "ImageTypeError", "seems to be video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "ImageTypeError", "seems to be JPEG 2000"),
        (b"IIRO\x08\0\0\0", "ImageTypeError", "seems to be camera raw"),
        (b"SIMPLE  =                    T", "ImageTypeError", "seems to be FITS"),
        (b"P5\n2 1\n65535\n\0\1\0\2", "ImageTypeError", "seems to be PGM, PPM or PFM"),
        (b"\x93NUMPY\1\0", "ImageTypeError", "seems to be NumPy array"),
        (b"%PDF-1.7\n\xe2\xe3", "ImageTypeError", "seems to be PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "ImageTypeError", "seems to be SVG"),
        (b"<!DOCTYPE HTML><html>", "ImageTypeError", "seems to be HTML"),
        (b"hello, world", "ImageTypeError", "seems to be text; .* Try saving it as JPEG or PNG"),
        (
            bytes(range(256)),
            "ImageTypeError",
            "'image' is not an image that camserve knows; allowed are JPEG",
        ),
    ],
)
def test_errors_say_what_is_wrong(source: Any, kind: str, message: str) -> None:
    with pytest.raises(errors.ImageError, match=message) as caught:
        read(source)
    assert type(caught.value).__name__ == kind


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_cut_off_file_is_an_error_at_every_tenth(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = file_of(Image.fromarray(noise), format)
    for tenth in range(10):
        with pytest.raises(errors.ImageError):
            read(data[: len(data) * tenth // 10])


def test_no_library_of_the_extra_is_loaded_before_such_a_picture_comes() -> None:
    code = f"""if True:
        import sys
        from camserve.images.reading import read_photo
        read_photo({JPEG!r}, max_pixels=10**6, max_side=9999, max_bytes=2**24)
        print(sorted({{name.split(".")[0] for name in sys.modules}}))
        print("PIL.ImageCms" in sys.modules)
    """
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "'PIL'" in loaded and loaded.endswith("False\n")
    for name in ("pillow_heif", "pillow_jxl", "pydicom", "tifffile", "imagecodecs"):
        assert f"'{name}'" not in loaded


@pytest.mark.parametrize("error", [RuntimeError("/secret"), Image.DecompressionBombError("7 px")])
def test_whatever_a_decoder_raises_is_an_image_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(READERS, "JPEG", fail)
    with pytest.raises(errors.ImageError, match="Try") as caught:
        read(JPEG)
    assert "secret" not in str(caught.value) and "Error" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("format", OUTPUTS)
def test_what_is_encoded_can_be_read_again(format: str) -> None:
    data = encode(GRADIENT, format, quality=95)
    photo = read(data)
    assert photo.format.lower() == format == OUTPUTS[format].content_type.removeprefix("image/")
    difference = np.abs(np.asarray(photo.image).astype(int) - np.asarray(GRADIENT))
    assert difference.mean() < (0.001 if format == "png" else 2)
    assert len(encode(GRADIENT, format, quality=10)) <= len(data)


def test_jpeg_keeps_thin_lines_of_colour() -> None:
    lines = np.zeros((16, 16, 3), np.uint8)
    lines[:, ::2] = 250, 0, 0
    seen = np.asarray(read(encode(Image.fromarray(lines), "jpeg")).image).astype(int)
    assert np.abs(seen - lines).max() < 30


def test_encode_says_what_it_cannot_do() -> None:
    with pytest.raises(errors.UnknownName, match="unknown image format 'jpg'; did you mean 'jpeg'"):
        encode(GRADIENT, "jpg")
    with pytest.raises(errors.OptionError, match="quality = 0: allowed are 1 to 100"):
        encode(GRADIENT, "jpeg", quality=0)
    with pytest.raises(errors.OptionError, match=r"16384 x 1; allowed in webp are 16383 pixels .* Try png"):
        encode(Image.new("RGB", (16384, 1)), "webp")
    assert encode(Image.new("RGB", (16383, 1)), "webp") and encode(Image.new("RGB", (65500, 1)), "jpeg")


@pytest.mark.parametrize("name", ["quality", "subsampling"])
def test_defaults_are_those_of_the_settings(name: str) -> None:
    default = inspect.signature(encode).parameters[name].default
    assert default == getattr(load_settings(environ={}).render, name)


def test_colours_are_sampled_as_asked_and_by_default_in_full() -> None:
    sizes = [len(encode(GRADIENT, "jpeg", subsampling=name)) for name in SUBSAMPLINGS]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    buffer = io.BytesIO()
    GRADIENT.save(buffer, "jpeg", quality=90, subsampling="4:4:4")
    assert encode(GRADIENT, "jpeg") == buffer.getvalue()
    for format in ("png", "webp"):
        assert encode(GRADIENT, format) == encode(GRADIENT, format, subsampling="4:2:0")
    with pytest.raises(errors.UnknownName, match="unknown subsampling '4:1:1'"):
        encode(GRADIENT, "jpeg", subsampling="4:1:1")


@pytest.mark.parametrize("folder", ["exif", "pillow", "pngsuite"])
def test_every_hostile_file_is_a_photo_or_an_error_of_ours(folder: str, hostile: Path) -> None:
    for path in sorted(path for path in (hostile / folder).rglob("*") if path.is_file()):
        try:
            assert min(read(path).size) > 0, path
        except errors.CamserveError as error:
            assert path.name in str(error) and str(path.parent) not in str(error)


def test_no_warning_escapes_where_warnings_are_errors(hostile: Path) -> None:
    code = """if True:
        import pathlib, sys
        from camserve.errors import CamserveError
        from camserve.images.reading import read_photo
        for path in pathlib.Path(sys.argv[1]).rglob("*"):
            if path.is_file():
                try:
                    read_photo(path, max_pixels=50_000_000, max_side=65535, max_bytes=2**24)
                    print(path.name)
                except CamserveError:
                    pass
    """
    command = [sys.executable, "-W", "error", "-c", code, str(hostile)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "samples per pixel" not in done.stderr
    assert {"hopper_bad_exif.jpg", "broken_exif_dpi.jpg"} <= set(done.stdout.split("\n"))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (333, 77), (1500, 900)])
def test_png_is_read_back_bit_for_bit(mode: str, size: tuple[int, int]) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    values[:, : size[0] // 2] = 7  # runs, and noise
    image = Image.merge(mode, [Image.fromarray(values[:, :, channel]) for channel in range(channels)])
    read = Image.open(io.BytesIO(encode(image, "png")))
    read.verify()
    read = Image.open(io.BytesIO(encode(image, "png")))
    assert read.format == "PNG"
    assert read.mode == mode
    assert read.tobytes() == image.tobytes()
