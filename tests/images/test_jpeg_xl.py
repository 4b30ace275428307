"""JPEG XL: every mode and turn, JPEGs made smaller, animations and broken files, as pillow-jxl-plugin writes them."""

import io
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from camserve import errors
from camserve.images.jpeg_xl import header
from camserve.images.reading import Photo, read_photo

pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed: camserve[pictures]")

NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def read(source: Any, max_pixels: int = 10_000_000, *, icc: bool = True) -> Photo:
    photo = read_photo(source, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20, icc=icc)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def pixels(source: Any, *, icc: bool = True) -> npt.NDArray[np.int64]:
    return np.asarray(read(source, icc=icc).image).astype(np.int64)


def jxl(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JXL", **{"lossless": True, "effort": 1, **options})
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_pixels_are_those_that_were_saved(mode: str) -> None:
    image = Image.fromarray(NOISE).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(NOISE[..., 1]))
    photo = read(jxl(image))
    assert np.array_equal(np.asarray(photo.image), np.asarray(read(image).image))
    assert photo.format == "JPEG XL" and photo.notes == ()


def test_numbers_of_more_than_8_bits() -> None:
    deep = NOISE[..., 0].astype(np.uint16) * 257
    expected = np.broadcast_to(NOISE[..., :1], NOISE.shape)
    sources = [jxl(Image.fromarray(deep)), jxl(Image.fromarray((NOISE[..., 0] / 255).astype(np.float32)))]
    for source in sources:
        assert np.array_equal(pixels(source, icc=False), expected)
    twelve = read(jxl(Image.fromarray((deep >> 4).astype(np.uint16))), icc=False)
    assert "read as 12-bit values" in twelve.notes[0]
    assert np.abs(np.asarray(twelve.image).astype(int) - expected).max() <= 1
    # the plugin calls both linear light, whatever they are: by their profile they are lighter
    linear = expected / 255
    lighter = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    for source in sources:
        assert np.abs(pixels(source) - lighter).max() <= 1


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (9, 9), (48, 32), (32, 48), (12, 10), (1920, 1080), (9000, 3), (3, 600)]
)
@pytest.mark.parametrize("options", [{}, {"use_container": True}])
def test_the_header_says_the_size(size: tuple[int, int], options: dict[str, Any]) -> None:
    assert header(jxl(Image.new("RGB", size), **options)) == (size, False)


def boxes(data: bytes, leave_out: bytes) -> bytes:
    """A container without one kind of box."""
    kept, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size or len(data) - at
        kept += b"" if kind == leave_out else data[at : at + size]
        at += size
    return kept


def quarters() -> npt.NDArray[np.uint8]:
    """(32, 48, 3), a colour in each quarter, so no two turns look alike."""
    colours = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    return colours.repeat(16, 0).repeat(24, 1)


def smaller_jpeg(folder: Path) -> bytes:
    """A JPEG made smaller, which is to be turned by 90 degrees: libjxl writes that into the codestream as well."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(quarters()[:, ::-1].transpose(1, 0, 2))
    Image.fromarray(stored).save(folder / "a.jpg", exif=exif, quality=95)
    with Image.open(folder / "a.jpg") as image:
        return jxl(image, lossless_jpeg=True, lossless=False)


def test_a_jpeg_made_smaller_is_that_jpeg(tmp_path: Path) -> None:
    photo = read(smaller_jpeg(tmp_path))
    assert photo.size == (48, 32) and photo.format == "JPEG XL"
    assert photo.image.tobytes() == read(tmp_path / "a.jpg").image.tobytes()


def test_a_turn_is_done_once(tmp_path: Path) -> None:
    """Without its JPEG it is decoded from the codestream, which libjxl turns, while EXIF says it as well."""
    data = boxes(boxes(smaller_jpeg(tmp_path), b"jbrd"), b"brob")
    exif = Image.Exif()
    exif[0x0112] = 6
    said = bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0")
    data += struct.pack(">I4s", 8 + len(said), b"Exif") + said
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif()[0x0112] == 6 and opened.size == (48, 32)  # so Pillow's exif_transpose turns it again
    photo = read(data)
    assert photo.size == (48, 32)
    seen = np.asarray(photo.image)[8::16, 12::24].astype(int)
    assert np.abs(seen - quarters()[8::16, 12::24]).max() < 16


def test_a_turn_in_exif_alone_is_not_done() -> None:
    """By the standard, EXIF only repeats what the codestream says."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jxl(Image.fromarray(NOISE), exif=exif.tobytes(), use_container=True)
    assert b"Exif" in data and np.array_equal(pixels(data), NOISE)


def test_an_animation_is_refused() -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="writes animations")
    data = bytes(imagecodecs.jpegxl_encode(np.stack([NOISE, NOISE[::-1]]), lossless=True))
    assert header(data) == ((48, 32), True)
    with pytest.raises(errors.ImageError, match="'image' is a JPEG XL animation; allowed is a single picture. Try"):
        read(data)


def test_the_limits_are_checked_in_the_header() -> None:
    data = jxl(Image.fromarray(NOISE))
    with pytest.raises(errors.ImageTooLarge, match=r"48 x 32 = 0.001536 megapixels; .* \(limits.megapixels\)"):
        read(data[:20], max_pixels=1535)
    square = 0 | 2 << 1 | (60000 - 1) << 3 | 1 << 21  # not in eighths; 18 bits of height; as wide as high
    with pytest.raises(errors.ImageTooLarge, match=r"60000 x 60000 = 3600 megapixels"):
        read(b"\xff\x0a" + square.to_bytes(12, "little"))


def test_cut_off_and_damaged_files_are_errors_and_silent(tmp_path: Path) -> None:
    data = jxl(Image.fromarray(NOISE))
    for tenth in range(1, 10):
        with pytest.raises(errors.ImageError, match="'image' cannot be decoded: this JPEG XL"):
            read(data[: len(data) * tenth // 10])
    for short in (b"\xff\x0a", data[:5], b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)):
        with pytest.raises(errors.ImageError, match="this JPEG XL"):
            read(short)
    (tmp_path / "a.jxl").write_bytes(data)
    code = """if True:
        import pathlib, sys, numpy
        from camserve.errors import ImageError
        from camserve.images.reading import read_photo
        data, random = pathlib.Path(sys.argv[1]).read_bytes(), numpy.random.default_rng(0)
        for _ in range(300):
            broken = bytearray(data)
            for place in random.integers(2, 300, 3):
                broken[place] = random.integers(256)
            try:
                read_photo(bytes(broken), max_pixels=10**6, max_side=9999, max_bytes=2**24)
            except ImageError as error:
                print(error)
    """
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.jxl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") > 50


def test_threads_share_nothing() -> None:
    sources = [jxl(Image.fromarray(np.roll(NOISE, step, 0))) for step in range(4)]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(i for i, s in enumerate(sources) if not np.array_equal(pixels(s), np.roll(NOISE, i, 0)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jxl(Image.fromarray(NOISE))
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    message = 'is a JPEG XL picture; reading it needs pillow-jxl-plugin. Try pip install "camserve\\[pictures\\]"'
    with pytest.raises(errors.ImageTypeError, match=message):
        read(data)
