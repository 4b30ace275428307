"""Whatever a photograph is given as is the same photograph, and no more of it is read than allowed."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camserve.errors import BodyTooLarge, ImageError
from camserve.images.reading import Photo, read_photo

GRADIENT = Image.fromarray(np.add.outer(np.arange(40), 3 * np.arange(60)).astype(np.uint8)).convert("RGB")


def read(source: Any, max_bytes: int = 25 * 2**20) -> Photo:
    photo = read_photo(source, max_pixels=10_000, max_side=100, max_bytes=max_bytes)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


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
    assert {p.format for p in named + unnamed[:4]} == {"PNG"} and unnamed[4].format == arrays[0].format == "array"


def test_a_photo_does_not_follow_its_source() -> None:
    for mode in ("RGB", "L", "RGBA"):
        image = GRADIENT.convert(mode)
        array = np.array(image)
        photos = read(image), read(array)
        image.paste(0, (0, 0, *image.size))
        array[:] = 0
        assert all(photo.image.tobytes() == GRADIENT.tobytes() for photo in photos)


def test_the_limit_of_bytes_bounds_what_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "big.png", bytes(3 * 2**20)
    path.write_bytes(data)

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            return bytes(size)

    for source in (path, data, bytearray(data), io.BytesIO(data), Endless()):
        with pytest.raises(BodyTooLarge, match=r"allowed are 2 \(limits\.body_megabytes\)\. Try"):
            read(source, max_bytes=2 * 2**20)


def test_an_empty_file_and_one_that_was_read_to_its_end_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match="'empty.jpg' is empty$"):
        read(tmp_path / "empty.jpg")
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe, pytest.raises(ImageError, match="is empty$"):  # where nobody can seek
        read(pipe)
    stream = io.BytesIO(b"bytes")
    stream.read()
    with pytest.raises(ImageError, match=r"'image' is empty; a file object .* try seek\(0\) first"):
        read(stream)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif"])
def test_too_little_memory_is_not_said_to_be_damage(format: str) -> None:
    code = f"""if True:
        import io, resource
        from PIL import Image
        from camserve.errors import OutOfMemory
        from camserve.images.reading import read_photo
        small, large = io.BytesIO(), io.BytesIO()
        Image.new("RGB", (40, 30), "olive").save(small, {format!r})
        Image.new("RGB", (4000, 3000), "olive").save(large, {format!r})
        how = {{"max_pixels": 10**8, "max_side": 10**5, "max_bytes": 10**8}}
        read_photo(small.getvalue(), **how)
        held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        for megabytes in (4, 12, 24):
            resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20, resource.RLIM_INFINITY))
            try:
                read_photo(large.getvalue(), **how)
            except OutOfMemory as error:
                print(error)
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("what a process holds is read from /proc, which is Linux's")
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert (
        said == "'image' was not decoded, because there is too little memory. Try again, or try a smaller copy.\n" * 3
    )
