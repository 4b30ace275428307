"""Finds shortcuts: a class's heat is at one place in every picture, such as a watermark, a logo or a scanner's mark.

A place is suspected for a class if it is hot in nearly all images of the class and rarely in images of other classes. A
place is suspected for all classes if it is hot in most images and lies away from the middle, where objects usually are.
A suspicion is not a proof: `camserve.batch.shortcut_test` tests it, and covering.py gives the verdict.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.findings.sketch import SIDE
from camserve.findings.statistics import Grid, Heat

FEWEST = 8  # a class needs this many images
# The share of a class's images in which a cell is hot (95 % lower bound) must be this much above the share of the other
# images. A class of eight images that are all hot there reaches at most 0.68.
MARGIN = 0.4
EVERYWHERE = 0.6  # a cell outside the middle must be hot in this share of all images
_Z = 1.96
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Shortcut:
    """A suspected shortcut. class_index: None for all classes. place: in words. cells: bool (16, 16), the region.

    here, elsewhere: the share of the class's images, and of all others, in which the region's strongest cell is hot.
    count: number of images of the class.
    """

    class_index: int | None
    place: str
    cells: npt.NDArray[np.bool_]
    here: float
    elsewhere: float
    count: int


def find_shortcuts(every: Heat, classes: dict[int, Heat]) -> list[Shortcut]:
    """The suspected shortcuts, the strongest first."""
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
    """The cells that are connected to `start` by sides or corners."""
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
    """ "top left", "bottom", "right", "centre": the third of the photograph in which the region's middle lies."""
    down, across = (math.floor(3 * (places.mean() + 0.5) / SIDE) for places in np.nonzero(cells))
    if (down, across) == (1, 1):
        return _COLUMNS[1]
    words = [_ROWS[down]] * (down != 1) + [_COLUMNS[across]] * (across != 1)
    return " ".join(words)
