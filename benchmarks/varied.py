"""Make any number of photographs from a few real ones, some of them broken, like a folder collected by a user."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import Skipped
from PIL import Image, ImageEnhance, ImageOps
from subjects import photographs

BROKEN = 0.03  # the share of broken files: truncated, empty or not a picture, a third each
LARGE = 0.05  # the share of large pictures, such as a phone's; the others have the size of the real ones
PIXELS = 1e6, 4e6  # of the large pictures
FOLDER = 1000  # files in each
_FACTS = "made.json"


def write_varied(folder: Path, count: int, source: Path | None, seed: int = 0) -> int:
    """Write `count` files NNN/NNNNNN.jpg into `folder`, if they are not there. Returns the number of broken files.

    source: a folder of photographs; None for scikit-image's. Raises Skipped if it has no photograph.
    """
    facts = {"count": count, "seed": seed, "source": str(source), "broken": 0}
    try:
        kept = json.loads((folder / _FACTS).read_text())
        if facts == kept | {"broken": 0}:
            return int(kept["broken"])
        raise Skipped(f"{folder} holds other images than were asked for; take another folder")
    except FileNotFoundError:
        pass
    real = originals(source)
    for number in range(count):
        content, broken = one_of(real, np.random.default_rng((seed, number)))
        path = folder / f"{number // FOLDER:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        facts["broken"] += broken
    (folder / _FACTS).write_text(json.dumps(facts))
    return int(facts["broken"])


def originals(source: Path | None) -> list[Image.Image]:
    """Return the real photographs, RGB, in the order of their names."""
    if source is None:
        return photographs(16, (500, 400))
    found = list(_read(source))
    if not found:
        raise Skipped(f"{source} has no .jpg or .png that can be read")
    return found


def _read(source: Path) -> Iterator[Image.Image]:
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            with Image.open(path) as photo:
                yield ImageOps.exif_transpose(photo).convert("RGB")


def one_of(real: list[Image.Image], rng: np.random.Generator) -> tuple[bytes, bool]:
    """Return the bytes of a file, and whether it is broken."""
    buffer = io.BytesIO()
    vary(real[rng.integers(len(real))], rng).save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
    content = buffer.getvalue()
    if rng.random() >= BROKEN:
        return content, False
    cut = content[: int(len(content) * rng.uniform(0.2, 0.8))]
    return [cut, b"", b"a note that somebody has given the wrong name\n" * 20][rng.integers(3)], True


def vary(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a part of `photo`, at least 0.6 of each side, perhaps mirrored, with other light and size."""
    width, height = (side * rng.uniform(0.6, 1) for side in photo.size)
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    share = rng.uniform(0.6, 1.4)
    if rng.random() < LARGE:
        share = float(np.sqrt(rng.uniform(*PIXELS) / (width * height)))
    size = max(1, round(width * share)), max(1, round(height * share))
    made = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        made = ImageOps.mirror(made)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        made = change(made).enhance(rng.uniform(0.75, 1.25))
    return made
