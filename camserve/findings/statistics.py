"""Sums over the maps of each class.

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

COARSE = 4  # a map with fewer cells per side is too coarse to show places


def _grid() -> Grid:
    return np.zeros((SIDE, SIDE))


@dataclass
class Heat:
    """Sums over the maps of a set of images. heat: the sum of heat, which is 1 per image. hot: per cell, the number of
    images in which it is hot.

    square: the sum of squared heat, from which the spread of maps is computed. outside, with_objects: the sum of shares
    outside objects, and the number of images with objects. coarse: the number of maps with too few cells, which are not
    counted.
    """

    count: int = 0
    heat: Grid = field(default_factory=_grid)
    hot: Grid = field(default_factory=_grid)
    square: float = 0.0
    outside: float = 0.0
    with_objects: int = 0
    coarse: int = 0

    def add(self, one: Row) -> None:
        """Count one explanation, unless it has no heat or too few cells."""
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
        """Add the counts of `other`."""
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
    """The distances of maps from their class's mean map, as Welford's running mean and variance."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one distance."""
        self.count += 1
        change = value - self.mean
        self.mean += change / self.count
        self.squares += change * (value - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 for fewer than two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


def main_explanation(row: Row) -> Row | None:
    """The explanation that findings use: the predicted class by the first method, or else the first explanation; None
    for a failed image."""
    explanations: list[Row] = row.get("explanations", [])
    if not explanations:
        return None
    predicted = row["predicted"]["class_index"]
    return next((one for one in explanations if one["class_index"] == predicted), explanations[0])


def is_coarse(one: Row) -> bool:
    """Whether an explanation's map has too few cells to show places."""
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
    """The share of an image's heat that differs from its class's mean, 0..1; None without heat or for coarse maps."""
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
