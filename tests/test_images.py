"""Every mode, turn, limit and error of camserve.images, on pictures small enough to be checked on paper."""

import inspect
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from camserve import errors, images
from camserve.config import load_settings
from camserve.images import OUTPUTS, Photo, encode, read_photo

# pytest puts its own "error" before the filters that camserve.images installs at import.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.(Tiff|Png)ImagePlugin")

DATA = Path(os.environ.get("CAMSERVE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
HOSTILE = DATA / "hostile"
hostile = pytest.mark.skipif(
    not HOSTILE.is_dir(), reason="no hostile/ in the folder CAMSERVE_TEST_DATA names"
)
Pixels = npt.NDArray[np.uint8]


def read(source: Any, max_pixels: int = 50_000_000, max_bytes: int = 25 * 2**20) -> Photo:
    photo = read_photo(source, max_pixels=max_pixels, max_bytes=max_bytes)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def row(source: Any) -> list[Any]:
    """The first row of pixels; greys as one number."""
    pixels = np.asarray(read(source).image)[0].tolist()
    return [p[0] if len(set(p)) == 1 else tuple(p) for p in pixels]


def picture(mode: str, *pixels: Any, **info: Any) -> Image.Image:
    """A picture of one row."""
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    image.info.update(info)
    return image


def palette(mode: str, *pixels: Any, **info: Any) -> Image.Image:
    image = picture(mode, *pixels, **info)
    image.putpalette([10, 20, 30, 40, 50, 60])
    return image


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, key: bytes = b"") -> bytes:
    """A PNG by hand, for what Pillow does not write. colour: 0 grey, 2 RGB. key: of its tRNS chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    body = (chunk(b"tRNS", key) if key else b"") + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


GRADIENT = Image.fromarray(np.add.outer(np.arange(40), 3 * np.arange(60)).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (picture("1", 0, 1), [0, 255]),
        (picture("L", 7, 200), [7, 200]),
        (picture("L", 7, 200, transparency=7), [255, 200]),
        (picture("LA", (10, 0), (10, 255), (0, 128)), [255, 10, 127]),
        (picture("La", (0, 0), (64, 128)), [255, 191]),
        (palette("P", 0, 1), [(10, 20, 30), (40, 50, 60)]),
        (palette("P", 0, 1, transparency=0), [255, (40, 50, 60)]),
        (palette("P", 0, 1, transparency=b"\x00\xff"), [255, (40, 50, 60)]),
        (palette("PA", (0, 255), (1, 0)), [(10, 20, 30), 255]),
        (picture("RGB", (1, 2, 3), (4, 5, 6)), [(1, 2, 3), (4, 5, 6)]),
        (picture("RGB", (1, 2, 3), (4, 5, 6), transparency=(4, 5, 6)), [(1, 2, 3), 255]),
        (picture("RGBA", (0, 0, 0, 0), (255, 0, 0, 128), (1, 2, 3, 255)), [255, (255, 127, 127), (1, 2, 3)]),
        (picture("RGBa", (0, 0, 0, 0), (128, 0, 0, 128)), [255, (255, 127, 127)]),
        (picture("RGBX", (1, 2, 3, 0)), [(1, 2, 3)]),
        (picture("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), [(255, 0, 0), 0]),
        (picture("YCbCr", (76, 85, 255)), [(254, 0, 0)]),
        (picture("HSV", (0, 255, 255)), [(255, 0, 0)]),
        (picture("LAB", (255, 128, 128), (0, 128, 128)), [(254, 255, 254), (1, 0, 1)]),
        (picture("I;16", 0, 128, 129, 32896, 65535), [0, 0, 1, 128, 255]),
        (picture("I;16", 0, 65535, transparency=0), [255, 255]),
        (picture("I;16B", 0, 32896, 65535), [0, 128, 255]),
        (picture("I;16L", 0, 32896, 65535), [0, 128, 255]),
        (picture("I", 0, 100, 255), [0, 100, 255]),
        (picture("I", 0, 1), [0, 1]),
        (picture("I", 0, 32896, 65535), [0, 128, 255]),
        (picture("I", -100, 0, 100), [0, 128, 255]),
        (picture("I", -5, -5), [0, 0]),
        (picture("F", 0, 0.2, 1), [0, 51, 255]),
        (picture("F", 0, 100, 255), [0, 100, 255]),
        (picture("F", 0, 32896, 65535), [0, 128, 255]),
        (picture("F", -1, 0, 4), [0, 51, 255]),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_a_pillow_image_of_every_mode(image: Image.Image, expected: list[Any]) -> None:
    before = image.tobytes()
    assert row(image) == expected
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png((3, 1), 16, 0, b"\0" + struct.pack(">3H", 0, 32896, 65535)), [0, 128, 255]),
        (png((2, 1), 16, 0, b"\0" + struct.pack(">2H", 0, 514), key=b"\0\0"), [255, 2]),
        (png((2, 1), 16, 2, b"\0" + struct.pack(">6H", *[0x8000] * 3, 0, 0, 0), key=b"\x80\0" * 3), [255, 0]),
        (png((8, 1), 1, 0, b"\0\x0f"), [0] * 4 + [255] * 4),
        (png((8, 1), 1, 0, b"\0\x0f", key=b"\0\0"), [255] * 8),
        (file_of(picture("RGBA", (0, 0, 0, 0), (9, 9, 9, 255)), "WEBP", lossless=True), [255, 9]),
        (file_of(palette("P", 0, 1), "GIF", transparency=0), [255, (40, 50, 60)]),
        (file_of(picture("I;16", 0, 32896, 65535), "TIFF"), [0, 128, 255]),
        (file_of(picture("F", 0, 0.2, 1), "TIFF"), [0, 51, 255]),
        (file_of(picture("RGB", (1, 2, 3)), "BMP"), [(1, 2, 3)]),
        (file_of(picture("L", *[9] * 8), "AVIF", quality=100), [9] * 8),
        (file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), [(255, 0, 0)] * 8),
    ],
)
def test_files_with_what_pillow_images_do_not_have(data: bytes, expected: list[Any]) -> None:
    assert row(data) == expected


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image = GRADIENT.copy()
    image.putalpha(GRADIENT.getchannel("R"))
    whole = read(image)
    monkeypatch.setattr(images, "_STRIP", 7 * 60)
    assert read(image).sha256 == whole.sha256


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        data = file_of(frames[0], format, save_all=True, append_images=frames[1:])
        red, green, blue = read(data).image.getpixel((1, 1))  # type: ignore[misc]
        assert red > 250 and green < 5 and blue < 5, format


STORED = {  # EXIF 2.32, tag 274: which side of the upright picture A (H, W, 3) the first row and column are
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[:, ::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[::-1].transpose(1, 0, 2),
}


def quarters() -> Pixels:
    """(32, 48, 3), a colour in each quarter, so no two turns look alike."""
    colours = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    return colours.repeat(16, 0).repeat(24, 1)


def turned(orientation: int, format: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0131], exif[0x0112] = "a camera", orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](quarters())))
    return file_of(image, format, exif=exif, quality=95, **options)


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_turn_makes_upright(format: str, orientation: int) -> None:
    more = {"append_images": [GRADIENT], "save_all": True} if format == "MPO" else {}
    data = turned(orientation, format, **more)
    opened = Image.open(io.BytesIO(data))
    for photo in (read(data), read(opened)):
        assert photo.size == (48, 32)
        seen = np.asarray(photo.image)[8::16, 12::24].astype(int)
        assert np.abs(seen - quarters()[8::16, 12::24]).max() < 12


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_broken_exif_costs_the_turn_and_not_the_picture(format: str) -> None:
    data = turned(6, format)
    header = data.index(b"MM\0*")
    assert read(data[:header] + b"junk" + data[header + 4 :]).size == (32, 48)
    entry = data.index(b"\x01\x31", header)  # a tag whose text would lie beyond the end
    assert read(data[: entry + 8] + b"\xff" * 4 + data[entry + 12 :]).size == (48, 32)


def test_every_kind_of_source_gives_the_same_photo(tmp_path: Path) -> None:
    data, path = file_of(GRADIENT), tmp_path / "a cat.png"
    path.write_bytes(data)
    upload = io.BytesIO(data)
    upload.filename = "C:\\pictures/a cat.png"  # type: ignore[attr-defined]
    with path.open("rb") as file, Image.open(path) as opened:
        named = [read(source) for source in (path, str(path), file, upload, opened)]
        opened.copy()  # still open, still the caller's
    array = np.asarray(GRADIENT)
    unnamed = [read(s) for s in (data, bytearray(data), memoryview(data), io.BytesIO(data), GRADIENT)]
    arrays = [read(array), read(np.asfortranarray(array)), read(array[..., 0])]
    assert {photo.image.tobytes() for photo in named + unnamed + arrays} == {GRADIENT.tobytes()}
    assert {photo.name for photo in named} == {"a cat.png"}
    assert {photo.name for photo in unnamed} == {"image"} and {photo.name for photo in arrays} == {"array"}
    assert len({photo.sha256 for photo in named[:4] + unnamed[:4]}) == 1
    assert len({photo.sha256 for photo in [named[4], unnamed[4], *arrays]}) == 1
    assert {p.format for p in named + unnamed[:4]} == {"PNG"} and unnamed[4].format == arrays[
        0
    ].format == "array"


def test_a_photo_does_not_follow_its_source() -> None:
    for mode in ("RGB", "L", "RGBA"):
        image = GRADIENT.convert(mode)
        array = np.array(image)
        photos = read(image), read(array)
        image.paste(0, (0, 0, *image.size))
        array[:] = 0
        assert all(photo.image.tobytes() == GRADIENT.tobytes() for photo in photos)


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
        read(png((100_000, 100_000), 8, 2, b""))


def test_a_small_tiff_with_a_huge_tile_is_too_large() -> None:
    packed = zlib.compress(bytes(2**20))
    tags = {256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**14, 323: 2**14, 324: 8, 325: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<I", 8 + len(packed))
    data = header + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(errors.ImageTooLarge, match="a tile of 'image' is 16384 x 16384"):
        read(data)


def test_the_limit_of_bytes_bounds_what_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "big.png", bytes(3 * 2**20)
    path.write_bytes(data)

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            return bytes(size)

    for source in (path, data, bytearray(data), io.BytesIO(data), Endless()):
        with pytest.raises(errors.BodyTooLarge, match=r"allowed are 2 \(limits\.body_megabytes\)\. Try"):
            read(source, max_bytes=2 * 2**20)


JPEG = file_of(GRADIENT, "JPEG")


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (b"", "ImageError", r"'image' is empty; .* seek\(0\)"),
        ("nowhere.jpg", "ImageError", "cannot read 'nowhere.jpg': No such file or directory"),
        ("https://example.org/a.jpg", "ImageError", "URLs are not fetched: download it first"),
        (Path(__file__).parent, "ImageError", "Is a directory"),
        ("a\0b", "ImageError", "null byte"),
        (io.StringIO("text"), "ImageError", r"open as text; .* try open\(..., 'rb'\)"),
        (None, "ImageError", "a NoneType is no image; allowed are a path"),
        (np.zeros((4, 4, 3)), "ImageError", r"an array of float64 \(4, 4, 3\) .*\(255 \* array\)"),
        (np.zeros((3, 8, 8), np.uint8), "ImageError", r"uint8 \(3, 8, 8\) .* Try array.transpose\(1, 2, 0\)"),
        (np.zeros((0, 4, 3), np.uint8), "ImageError", "'array' is 4 x 0; allowed is 1 x 1 and more"),
        (picture("F", float("nan"), 1), "ImageError", "NaN or infinite"),
        (picture("F", 1, float("inf")), "ImageError", "NaN or infinite"),
        (JPEG[:400], "ImageError", r"'image' cannot be decoded: this JPEG is cut off \(truncated\)\. Try"),
        (JPEG[:20] + bytes(600), "ImageError", "this JPEG is damaged"),
        (b"GIF89a", "ImageError", "this GIF is damaged"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "ImageTypeError",
            "'image' seems to be HEIC; allowed are JPEG",
        ),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomavc1", "ImageTypeError", "seems to be video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "ImageTypeError", "seems to be JPEG 2000"),
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


@pytest.mark.parametrize(
    "error", [RuntimeError("/secret"), MemoryError(), Image.DecompressionBombError("7 px")]
)
def test_whatever_a_decoder_raises_is_an_image_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(images._READERS, "JPEG", fail)
    with pytest.raises(errors.ImageError, match="Try") as caught:
        read(JPEG)
    assert "secret" not in str(caught.value) and "Error" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_threads_share_nothing() -> None:
    sources = [turned(6, format) for format in ("JPEG", "PNG", "WEBP")] + [
        file_of(GRADIENT.convert("LAB"), "TIFF")
    ]
    expected = [read(source).image.tobytes() for source in sources]
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(s for s, e in zip(sources, expected, strict=True) if read(s).image.tobytes() != e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and filters == list(warnings.filters) and limit == Image.MAX_IMAGE_PIXELS


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
    with pytest.raises(errors.OptionError, match=r"16384 x 1; allowed in a webp are 16383 pixels .* Try png"):
        encode(Image.new("RGB", (16384, 1)), "webp")
    assert encode(Image.new("RGB", (16383, 1)), "webp") and encode(Image.new("RGB", (65500, 1)), "jpeg")


def test_the_default_quality_is_that_of_the_settings() -> None:
    default = inspect.signature(encode).parameters["quality"].default
    assert default == load_settings(environ={}).render.quality


@hostile
@pytest.mark.parametrize("scene", ["Landscape", "Portrait"])
def test_photographs_of_every_orientation_come_out_the_same_way_up(scene: str) -> None:
    upright = np.asarray(read(HOSTILE / "exif" / f"{scene}_1.jpg").image)[::8, ::8].astype(int)
    for orientation in range(9):
        seen = np.asarray(read(HOSTILE / "exif" / f"{scene}_{orientation}.jpg").image)[::8, ::8]
        assert seen.shape == upright.shape and np.abs(seen - upright).mean() < 5  # any other turn: above 40


@hostile
@pytest.mark.parametrize("folder", ["exif", "pillow", "pngsuite"])
def test_every_hostile_file_is_a_photo_or_an_error_of_ours(folder: str) -> None:
    for path in sorted(path for path in (HOSTILE / folder).rglob("*") if path.is_file()):
        try:
            assert min(read(path).size) > 0, path
        except errors.CamserveError as error:
            assert path.name in str(error) and str(path.parent) not in str(error)


@hostile
def test_no_warning_escapes_where_warnings_are_errors() -> None:
    code = """if True:
        import pathlib, sys
        from camserve.errors import CamserveError
        from camserve.images import read_photo
        for path in pathlib.Path(sys.argv[1]).rglob("*"):
            if path.is_file():
                try:
                    read_photo(path, max_pixels=50_000_000, max_bytes=2**24)
                    print(path.name)
                except CamserveError:
                    pass
    """
    command = [sys.executable, "-W", "error", "-c", code, str(HOSTILE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "samples per pixel" not in done.stderr
    assert {"hopper_bad_exif.jpg", "broken_exif_dpi.jpg"} <= set(done.stdout.split("\n"))
