"""Sums over maps, class by class: what is known of a folder without keeping its images.

Each class takes two grids of 16 x 16 numbers, so memory grows with the number of classes only.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from camserve.findings.results import Row
from camserve.findings.sketch import CORNERS, RING, SIDE, from_text, heat_of, hot_cells

Grid = npt.NDArray[np.float64]

COARSE = 4  # cells a side of a map, of which fewer cannot say where: each is more than a quarter of the photograph


def _grid() -> Grid:
    return np.zeros((SIDE, SIDE))


@dataclass
class Heat:
    """The maps of a set of images. heat: sum of each image's heat, which is 1 in all. hot: in how many a cell is hot.

    square: sum of the heat's squares, for how much maps differ. outside: sum and number of the shares beside objects.
    coarse: maps that were not counted, since their cells are too few to say where.
    """

    count: int = 0
    heat: Grid = field(default_factory=_grid)
    hot: Grid = field(default_factory=_grid)
    square: float = 0.0
    outside: float = 0.0
    with_objects: int = 0
    coarse: int = 0

    def add(self, one: Row) -> None:
        """Count one explanation, unless it has no heat or is too coarse to say where that is."""
        if is_coarse(one):
            self.coarse += 1
            return
        sketch = from_text(one["sketch"])
        heat = heat_of(sketch)
        if heat.any():
            self.count += 1
            self.heat += heat
            self.hot += hot_cells(sketch)
            self.square += float((heat * heat).sum())
            if one["outside"] is not None:
                self.outside += one["outside"]
                self.with_objects += 1

    def __iadd__(self, other: "Heat") -> "Heat":
        """Count all that `other` has counted."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    @property
    def mean(self) -> Grid:
        """The mean heat, which adds up to 1."""
        return self.heat / max(self.count, 1)

    @property
    def error(self) -> float:
        """The standard error of the mean map, as the length of its 256 numbers."""
        mean = self.mean
        variance = self.square / max(self.count, 1) - float((mean * mean).sum())
        return math.sqrt(max(variance, 0) / max(self.count, 1))

    @property
    def border(self) -> float:
        """The mean share of the heat on the border."""
        return float(self.mean[RING].sum())

    @property
    def corners(self) -> float:
        """The mean share of the heat in the corners."""
        return float(self.mean[CORNERS].sum())


@dataclass
class Spread:
    """How far maps lie from their class's mean: Welford's running mean and variance."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.count += 1
        change = value - self.mean
        self.mean += change / self.count
        self.squares += change * (value - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation, 0 for fewer than two."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


def main_explanation(row: Row) -> Row | None:
    """The explanation that findings are about: of the predicted class by the first method, else the first; of a
    failed image None."""
    explanations: list[Row] = row.get("explanations", [])
    if not explanations:
        return None
    predicted = row["predicted"]["class_index"]
    return next((one for one in explanations if one["class_index"] == predicted), explanations[0])


def is_coarse(one: Row) -> bool:
    """Whether an explanation's map has too few cells to say where."""
    grid: list[int] = one.get("grid", [COARSE])  # results of earlier versions do not have it
    return min(grid) < COARSE


def explained(rows: Iterable[Row]) -> Iterator[tuple[Row, Row]]:
    """Each image's row with its main explanation."""
    for row in rows:
        one = main_explanation(row)
        if one is not None:
            yield row, one


def gather(rows: Iterable[Row]) -> tuple[Heat, dict[int, Heat]]:
    """All images together, and those of each explained class."""
    every = Heat()
    classes: dict[int, Heat] = {}
    for _, one in explained(rows):
        classes.setdefault(one["class_index"], Heat()).add(one)
    for index in sorted(classes):
        every += classes[index]
    return every, {index: classes[index] for index in sorted(classes)}


def distance(one: Row, heat: Heat) -> float | None:
    """How much of an image's heat lies elsewhere than its class's mean, 0..1; None without heat or on coarse grids."""
    if is_coarse(one):
        return None
    own = heat_of(from_text(one["sketch"]))
    return float(np.abs(own - heat.mean).sum() / 2) if own.any() else None


def spreads(rows: Iterable[Row], classes: dict[int, Heat]) -> dict[int, Spread]:
    """The distances of each class's images from its mean."""
    found = {index: Spread() for index in classes}
    for _, one in explained(rows):
        away = distance(one, classes[one["class_index"]])
        if away is not None:
            found[one["class_index"]].add(away)
    return found
