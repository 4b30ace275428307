"""HEIC: every mode, depth and turn, files of several pictures and broken ones, as pillow-heif writes them."""

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
from camserve.images.reading import Photo, read_photo

pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: camserve[pictures]")

NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def read(source: Any, max_pixels: int = 10_000_000) -> Photo:
    photo = read_photo(source, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def pixels(source: Any) -> npt.NDArray[np.int64]:
    return np.asarray(read(source).image).astype(np.int64)


def heic(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **{**LOSSLESS, **options})
    return buffer.getvalue()


def deep(values: npt.NDArray[np.uint16], mode: str) -> bytes:
    """A HEIC of 10 bits, the upper ones of these 16."""
    buffer = io.BytesIO()
    pillow_heif.from_bytes(mode, values.shape[1::-1], values.tobytes()).save(buffer, **LOSSLESS)
    return buffer.getvalue()


def test_pixels_are_those_that_were_saved() -> None:
    photo = read(heic(Image.fromarray(NOISE)))
    assert np.array_equal(np.asarray(photo.image), NOISE)
    assert photo.format == "HEIC" and photo.notes == ()
    grey = NOISE[..., 0]
    assert np.array_equal(pixels(heic(Image.fromarray(grey))), np.broadcast_to(grey[..., None], NOISE.shape))


def test_transparency_lies_over_white() -> None:
    for mode in ("RGBA", "LA"):
        image = Image.fromarray(NOISE).convert(mode)
        image.putalpha(Image.fromarray(NOISE[..., 1]))
        assert np.array_equal(pixels(heic(image)), np.asarray(read(image).image))


def test_ten_bits_are_scaled_and_not_cut() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, NOISE.shape, np.uint16)
    expected = np.rint((values >> 6) * (255 / 1023))
    assert np.array_equal(pixels(deep(values, "RGB;16")), expected)
    assert np.abs(expected - (values >> 8)).max() == 1  # as pillow-heif cuts them
    grey = pixels(deep(np.ascontiguousarray(values[..., 0]), "L;16"))
    assert np.abs(grey - expected[..., :1]).max() <= 1
    assert read(deep(values, "RGB;16")).notes == ()


def test_values_of_a_screen_of_high_dynamic_range_are_said() -> None:
    photo = read(heic(Image.fromarray(NOISE), transfer_characteristics=16))
    expected = "its values are for a screen with high dynamic range (PQ); they are shown without conversion"
    assert photo.notes == (expected,)


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


def turned(orientation: int) -> bytes:
    """With its turn both as a property, which libheif follows, and in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, buffer = np.ascontiguousarray(STORED[orientation](NOISE)), io.BytesIO()
    pillow_heif.encode("RGB", stored.shape[1::-1], stored.tobytes(), buffer, exif=exif.tobytes(), **LOSSLESS)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turn_is_done_once(orientation: int) -> None:
    data = turned(orientation)
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    kept = Image.Exif()
    kept.load(pillow_heif.open_heif(io.BytesIO(data)).info["exif"])
    assert kept[0x0112] == orientation
    assert np.array_equal(pixels(data), NOISE)


def test_a_turn_in_exif_alone_is_not_done() -> None:
    """By the standard, EXIF only repeats what the properties say."""
    data = turned(6)
    assert data.count(b"irot") == 1
    assert np.array_equal(pixels(data.replace(b"irot", b"free")), STORED[6](NOISE))


def test_of_several_pictures_the_primary_one() -> None:
    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "blue"))
    file.add_from_pillow(Image.fromarray(NOISE))
    buffer = io.BytesIO()
    file.save(buffer, primary_index=1, **LOSSLESS)
    photo = read(buffer.getvalue())
    assert np.array_equal(np.asarray(photo.image), NOISE)
    assert photo.notes == ("only the primary picture is explained; the file has 1 more",)


def test_the_limits_are_checked_in_the_header() -> None:
    data = heic(Image.fromarray(NOISE))
    cut = data[: data.index(b"mdat") + 8] + bytes(len(data))  # no pixels in it
    with pytest.raises(errors.ImageTooLarge, match=r"48 x 32 = 0.001536 megapixels; .* \(limits.megapixels\)"):
        read(cut, max_pixels=1535)
    size = data.index(b"ispe") + 8  # what the header says, which is what the decoder is held to
    with pytest.raises(errors.ImageError, match="'image' cannot be decoded: this HEIC"):
        read(data[:size] + struct.pack(">II", 16, 16) + data[size + 8 :])


def test_cut_off_and_damaged_files_are_errors_and_silent(tmp_path: Path) -> None:
    data = heic(Image.fromarray(NOISE))
    for tenth in range(1, 10):
        with pytest.raises(errors.ImageError, match="'image' cannot be decoded: this HEIC"):
            read(data[: len(data) * tenth // 10])
    with pytest.raises(errors.ImageError, match=r"this HEIC is cut off \(truncated\)"):
        read(data[:-100])
    (tmp_path / "a.heic").write_bytes(data)
    code = """if True:
        import pathlib, sys, numpy
        from camserve.errors import ImageError
        from camserve.images.reading import read_photo
        data, random = pathlib.Path(sys.argv[1]).read_bytes(), numpy.random.default_rng(0)
        for _ in range(300):
            broken = bytearray(data)
            for place in random.integers(12, 700, 4):
                broken[place] = random.integers(256)
            try:
                read_photo(bytes(broken), max_pixels=10**6, max_side=9999, max_bytes=2**24)
            except ImageError as error:
                print(error)
    """
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.heic")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") > 50


def test_threads_share_nothing_and_pillow_stays_as_it_is() -> None:
    sources = [heic(Image.fromarray(np.roll(NOISE, step, 0))) for step in range(4)]
    wrong, before = list[int](), set(Image.OPEN)  # imageio registers HEIF there, where another test has loaded it

    def work() -> None:
        for _ in range(5):
            wrong.extend(i for i, s in enumerate(sources) if not np.array_equal(pixels(s), np.roll(NOISE, i, 0)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and set(Image.OPEN) == before


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = "'image' is a HEIC picture; reading it needs pillow-heif. Try pip install \"camserve\\[pictures\\]\""
    with pytest.raises(errors.ImageTypeError, match=message):
        read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
