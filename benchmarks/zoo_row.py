"""A row of the zoo, how it is filled, and the tolerances of comparisons."""

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

# Logits may differ by this share of their range, and of the largest logit.
OF_SPREAD, OF_LARGEST = 1e-4, 1e-5
# Maps may differ by this share of their peak, and of the largest sum of absolute terms.
OF_PEAK, OF_TERMS = 1e-3, 1e-5
# Both may differ by this many times the network's own rounding error in float32.
OF_ROUNDING = 50


@dataclass
class Row:
    """verdict: "right", "refused" or "WRONG", with `words`; "not made" if the network's library cannot make it here."""

    library: str
    name: str
    verdict: str = "right"
    words: str = ""
    parameters: int = 0
    size: int = 0
    layer: str = ""
    head: str = ""
    exact: str = ""
    sizes: str = ""
    engines: str = ""
    legrad: str = ""
    rollout: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def wrong(self, what: str) -> None:
        """Record an error; "" is no error."""
        if not what:
            return
        self.words = f"{self.words}; {what}" if self.verdict == "WRONG" else what
        self.verdict = "WRONG"

    def note(self, what: str) -> None:
        """Record a note for the reader."""
        if what and what not in self.notes:
            self.notes.append(what)


@contextmanager
def heard(row: Row, what: str) -> Iterator[None]:
    """Inside the context, output to standard error is an error, and warnings and log lines become notes."""
    lines = logging.StreamHandler(io.StringIO())
    logging.getLogger("camserve").addHandler(lines)
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            logging.getLogger("camserve").removeHandler(lines)
            file.seek(0)
            written = file.read().decode(errors="replace").strip()
            if written:
                row.wrong(f"{what} writes to standard error: {written.splitlines()[-1][:200]}")
            for line in [*lines.stream.getvalue().splitlines(), *(first_line(one.message) for one in warned)]:
                row.note(f"{what} says: {line[:200]}")


def picture(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a picture with large and small shapes, (H, W, 3), the same at every call."""
    rng = np.random.default_rng(1000 * width + height)
    total = np.zeros((height, width, 3))
    for cells, strength in ((4, 70), (11, 45), (40, 25)):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += strength / 128 * (np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float) - 128)
    return (128 + total + rng.normal(0, 6, total.shape)).clip(0, 255).astype(np.uint8)


def pixels_of(image: npt.NDArray[np.uint8]) -> Tensor:
    """Return the network's input for an image: float32 (1, 3, H, W), (pixel - 127.5) / 127.5."""
    return ((torch.from_numpy(image).permute(2, 0, 1).float() - 127.5) / 127.5)[None].contiguous()


def batch_of(side: int) -> Tensor:
    """Return three such inputs, for statistics."""
    whole = [pixels_of(np.roll(picture(side, side), side * turn // 3, (0, 1))) for turn in range(3)]
    return torch.cat([whole[0], whole[1].flip(1), -whole[2]])


def apart(one: Tensor, other: Tensor, rounding: float = 0.0) -> float:
    """Return the difference of two rows of logits, in tolerances; infinite if one is not finite.

    rounding: the network's own rounding error in float32.
    """
    allowed = OF_SPREAD * float(other.max() - other.min()) + OF_LARGEST * float(other.abs().max())
    missing = float((one.double() - other.double()).abs().max()) if one.shape == other.shape else float("inf")
    allowed += OF_ROUNDING * rounding
    return missing / allowed if np.isfinite(missing) and allowed > 0 else float("inf")


def maps_agree(ours: npt.NDArray[np.float32], theirs: Tensor, size: float = 0.0, rounding: float = 0.0) -> bool:
    """Whether two maps agree within tolerances. size: the largest sum of absolute terms. rounding: as in `apart`."""
    if ours.shape != tuple(theirs.shape):
        return False
    allowed = OF_PEAK * float(theirs.abs().max()) + OF_TERMS * size + OF_ROUNDING * rounding
    return float((torch.from_numpy(ours) - theirs).abs().max()) <= allowed


def first_line(error: object) -> str:
    """Return the first line of an error, at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
