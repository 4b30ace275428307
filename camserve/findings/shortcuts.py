"""Classes that are looked for at one place, whatever the picture shows: a watermark, a logo, a scanner's mark.

A place is suspected where it is hot in nearly all images of a class and seldom in those of others; and, whatever the
class, where it lies away from the middle, where objects are, and is hot in most images. A suspicion is words to look
at, not a proof: `camserve.batch.shortcut_test` puts it to the test, and covering.py says what that says.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.findings.sketch import SIDE
from camserve.findings.statistics import Grid, Heat

FEWEST = 8  # images of a class before anything is said of it
# The share of a class's images with a hot cell, at its 95 % lower bound, must be this much over that of the others.
# A class of eight images that all have it can reach 0.68.
MARGIN = 0.4
EVERYWHERE = 0.6  # the share of all images with one hot cell off the middle
_Z = 1.96
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Shortcut:
    """A suspicion. class_index: None for all classes. place: in words. cells: bool (16, 16), the region.

    here, elsewhere: the share of the class's images, and of the others, where the region's surest cell is hot.
    count: images of the class.
    """

    class_index: int | None
    place: str
    cells: npt.NDArray[np.bool_]
    here: float
    elsewhere: float
    count: int


def find_shortcuts(every: Heat, classes: dict[int, Heat]) -> list[Shortcut]:
    """The suspicions, the strongest first."""
    found = [*_of_classes(every, classes), *_of_all(every)]
    return sorted(found, key=lambda one: (one.elsewhere - one.here, -one.count))


def lower_bound(share: Grid, count: int) -> Grid:
    """The 95 % lower bound of shares seen in `count` images (Wilson 1927)."""
    middle = share + _Z**2 / (2 * count)
    margin = _Z * np.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    bound: Grid = (middle - margin) / (1 + _Z**2 / count)
    return bound


def _of_classes(every: Heat, classes: dict[int, Heat]) -> Iterator[Shortcut]:
    for index, one in classes.items():
        others = every.count - one.count
        if one.count < FEWEST or others < FEWEST:
            continue
        here, elsewhere = one.hot / one.count, (every.hot - one.hot) / others
        margin = lower_bound(here, one.count) - elsewhere
        if margin.max() >= MARGIN:
            yield _shortcut(index, margin >= MARGIN, margin, here, elsewhere, one.count)


def _of_all(every: Heat) -> Iterator[Shortcut]:
    if every.count < FEWEST:
        return
    share = every.hot / every.count
    off_middle = lower_bound(share, every.count) * ~_middle()
    if off_middle.max() >= EVERYWHERE:
        yield _shortcut(None, off_middle >= EVERYWHERE, off_middle, share, np.zeros_like(share), every.count)


def _shortcut(
    index: int | None, cells: npt.NDArray[np.bool_], margin: Grid, here: Grid, elsewhere: Grid, count: int
) -> Shortcut:
    surest = np.unravel_index(int(margin.argmax()), margin.shape)
    region = _around(cells, surest)
    return Shortcut(index, _in_words(region), region, float(here[surest]), float(elsewhere[surest]), count)


def _around(cells: npt.NDArray[np.bool_], start: tuple[np.intp, ...]) -> npt.NDArray[np.bool_]:
    """The cells that connect to `start`, sides or corners touching."""
    region = np.zeros_like(cells)
    region[start] = True
    while True:
        padded = np.pad(region, 1)
        grown = np.zeros_like(region)
        for down in range(3):
            for across in range(3):
                grown |= padded[down : down + SIDE, across : across + SIDE]
        grown &= cells
        if (grown == region).all():
            return region
        region = grown


def _middle() -> npt.NDArray[np.bool_]:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = True
    return inside


def _in_words(cells: npt.NDArray[np.bool_]) -> str:
    """ "top left", "bottom", "right", "centre": the third of the photograph that the region's middle lies in."""
    down, across = (math.floor(3 * (places.mean() + 0.5) / SIDE) for places in np.nonzero(cells))
    if (down, across) == (1, 1):
        return _COLUMNS[1]
    words = [_ROWS[down]] * (down != 1) + [_COLUMNS[across]] * (across != 1)
    return " ".join(words)
