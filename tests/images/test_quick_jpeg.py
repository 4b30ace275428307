"""JPEGs by simplejpeg against the same by Pillow: pixels, notes and the words of errors are the same.

Pillow is what runs where simplejpeg is not installed, so its answers are the oracle.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from camserve.errors import CamserveError
from camserve.images.arrays import quick_jpeg
from camserve.images.reading import read_photo
from camserve.images.signatures import kind_of

simplejpeg = pytest.importorskip("simplejpeg", reason="simplejpeg is not installed: Pillow decodes")


class Library:
    """simplejpeg, counting what it decoded."""

    def __init__(self) -> None:
        self.decoded = 0

    def decode_jpeg(self, data: bytes, colours: str) -> Any:
        made = simplejpeg.decode_jpeg(data, colours)
        self.decoded += 1
        return made


Answer = tuple[Any, ...]


def answer(data: bytes, **limits: Any) -> Answer:
    """What reading gives: pixels and notes, or an error's class and words."""
    try:
        photo = read_photo(data, **{"max_pixels": 10**8, "max_side": 65535, "max_bytes": 2**30, **limits})
    except CamserveError as error:
        return type(error), str(error)
    return photo.size, photo.pixels.tobytes(), photo.notes, photo.sha256, photo.format


def both(monkeypatch: pytest.MonkeyPatch, data: bytes, **limits: Any) -> tuple[Answer, Answer, bool]:
    """By simplejpeg, by Pillow, and whether simplejpeg decoded it."""
    library = Library()
    with monkeypatch.context() as patched:
        patched.setattr(quick_jpeg, "_simplejpeg", lambda: library)
        quick = answer(data, **limits)
        patched.setattr(quick_jpeg, "_simplejpeg", lambda: None)
        return quick, answer(data, **limits), library.decoded > 0


def scene(width: int, height: int, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(1000 * width + height)
    coarse = random.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


SIZES = [(1, 1), (3, 5), (8, 8), (17, 16), (33, 47), (101, 64), (250, 131), (500, 400)]
PLAIN: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "low quality": {"quality": 5},
    "best quality": {"quality": 100},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
    "restart rows": {"restart_marker_rows": 1, "subsampling": 1},
    "optimised": {"optimize": True},
    "comment": {"comment": "a cat"},
    "no JFIF colours": {"keep_rgb": True},
}


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_files(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in SIZES:
        for mode in ("RGB", "L"):
            options = {key: value for key, value in PLAIN[kind].items() if mode == "RGB" or key != "keep_rgb"}
            quick, slow, was_quick = both(monkeypatch, jpeg(scene(*size, mode), **options))
            assert quick == slow and quick[0] == size
            assert was_quick or kind == "no JFIF colours"  # which Pillow marks as Adobe's


def test_every_quality_and_subsampling(monkeypatch: pytest.MonkeyPatch) -> None:
    for quality in range(1, 101, 7):
        for subsampling in range(3):
            data = jpeg(scene(61, 45), quality=quality, subsampling=subsampling, progressive=quality % 2 == 0)
            quick, slow, was_quick = both(monkeypatch, data)
            assert quick == slow and was_quick


def others() -> Iterator[tuple[str, bytes, bool]]:
    """Files with something of their own, and whether simplejpeg may decode them."""
    image = scene(60, 40)
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation {orientation}", jpeg(image, exif=exif), orientation not in range(2, 9)
    yield "broken EXIF", jpeg(image, exif=b"Exif\0\0nonsense"), True
    yield "profile", jpeg(image, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), False
    yield "CMYK", jpeg(image.convert("CMYK")), False
    yield "YCbCr", jpeg(image.convert("YCbCr")), True
    plain = jpeg(image)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    for transform in range(3):
        yield f"Adobe {transform}", plain[:2] + adobe + bytes([transform]) + plain[2:], False
    yield "junk in front of a marker", plain[:2] + b"\x00\x00" + plain[2:], False
    yield "junk behind the end", plain + b"junk" * 100, True
    yield "two in one file", plain + jpeg(scene(8, 8)), True
    yield "no end", plain[:-2], False
    yield "empty behind the header", plain[: plain.index(b"\xff\xda")], False
    yield "nothing but the start", plain[:2], False


@pytest.mark.parametrize(("data", "may_be_quick"), [pytest.param(*rest, id=name) for name, *rest in others()])
def test_files_with_something_of_their_own(data: bytes, may_be_quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow, was_quick = both(monkeypatch, data)
    assert quick == slow
    assert was_quick == may_be_quick


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str)
def test_files_that_are_cut_off_or_damaged(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, random = jpeg(scene(70, 50), **options), np.random.default_rng(0)
    for length in range(0, len(whole), 41):
        quick, slow, _ = both(monkeypatch, whole[:length])
        assert quick == slow, length
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        quick, slow, _ = both(monkeypatch, bytes(damaged))
        assert quick == slow, bytes(damaged).hex()


def test_limits_come_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(scene(60, 40))
    for limits in ({"max_pixels": 2399}, {"max_side": 59}):
        quick, slow, was_quick = both(monkeypatch, data, **limits)
        assert quick == slow and not was_quick and issubclass(quick[0], CamserveError)
    assert both(monkeypatch, data, max_pixels=2400, max_side=60)[2]


def test_too_little_memory_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def decode_jpeg(self, data: bytes, colours: str) -> Any:
            raise MemoryError

    monkeypatch.setattr(quick_jpeg, "_simplejpeg", Full)
    assert "too little memory" in answer(jpeg(scene(9, 9)))[1]


def test_the_caller_may_go_on_with_an_array_of_theirs() -> None:
    given = np.array(scene(20, 10))
    photo = read_photo(given, max_pixels=200, max_side=20, max_bytes=1)
    before = given.copy()
    given[:] = 0
    assert np.array_equal(photo.pixels, before) and photo.pixels.flags.c_contiguous
    assert np.array_equal(np.asarray(photo.image), before) and photo.image.mode == "RGB"


def test_every_jpeg_of_the_measuring_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = quickly = 0
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if kind_of(content) == "JPEG":
            quick, slow, was_quick = both(monkeypatch, content)
            assert quick == slow, path
            number, quickly = number + 1, quickly + was_quick
    assert quickly > 0.9 * number > 0
