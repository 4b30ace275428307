"""Every mode and turn of camserve.images.pixels, on pictures small enough to be checked on paper."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from camserve.errors import ImageError
from camserve.images.arrays import pixel_arrays
from camserve.images.reading import Photo, read_photo

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def hostile(data: Path) -> Path:
    """Pictures made to break readers, which are not part of the project."""
    if not (data / "hostile").is_dir():
        pytest.skip("no hostile/ in the folder that CAMSERVE_TEST_DATA names")
    return data / "hostile"


def read(source: Any) -> Photo:
    photo = read_photo(source, max_pixels=10_000_000, max_side=65535, max_bytes=25 * 2**20)
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
        (png((2, 1), 16, 0, b"\0" + struct.pack(">2H", 0, 514), key=b"\0\0"), [255, 128]),  # as of 10 bits
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
    monkeypatch.setattr(pixel_arrays, "_STRIP", 7 * 60)
    assert read(image).sha256 == whole.sha256


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ImageError, match="NaN or infinite"):
        read(picture("F", value, 1))


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


@pytest.mark.parametrize("scene", ["Landscape", "Portrait"])
def test_photographs_of_every_orientation_come_out_the_same_way_up(scene: str, hostile: Path) -> None:
    upright = np.asarray(read(hostile / "exif" / f"{scene}_1.jpg").image)[::8, ::8].astype(int)
    for orientation in range(9):
        seen = np.asarray(read(hostile / "exif" / f"{scene}_{orientation}.jpg").image)[::8, ::8]
        assert seen.shape == upright.shape and np.abs(seen - upright).mean() < 5  # any other turn: above 40


def test_threads_share_nothing() -> None:
    sources = [turned(6, format) for format in ("JPEG", "PNG", "WEBP")] + [file_of(GRADIENT.convert("LAB"), "TIFF")]
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
