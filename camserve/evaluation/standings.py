"""The figures of every method over a set of images, the order of the methods, and the recommended one with reasons."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.catalogue.method import NOTHING
from camserve.catalogue.methods import METHODS
from camserve.catalogue.metric import Asks, Group
from camserve.catalogue.metrics import METRICS
from camserve.evaluation.intervals import differs, figure_of
from camserve.evaluation.standings_tables import Standing, text_table

Float64 = npt.NDArray[np.float64]
Row = dict[str, Any]

# These metrics do not order methods, because sharpening a map raises them; pixel_auroc and grid_auroc do not change.
_UNRANKED = ("energy", "grid_pg")
SECONDS = "seconds"
# What is missing if a metric has no value, by what it asks for.
_LACKING = {
    Asks.MASK: "boxes or masks that say where the objects are",
    Asks.IMAGES: "labelled images of four classes that the model answers correctly, with a score of 0.5 or more",
}
# A smaller difference of means counts as no difference, even if it is certain: three digits do not show it.
SEEN = 0.0005
# Points of the curves of insertion and deletion in an evaluation. The 224 points of the paper take eleven times as
# long.
STEPS = 20


class Evaluation:
    """The figures of methods x metrics over images; they are computed when they are first read.

    metrics: names, in order. count: the number of images that were measured. skipped: the number of images that failed.
    """

    def __init__(self, metrics: Sequence[str], rows: Iterable[Row]) -> None:
        self.metrics = tuple(metrics)
        self.count = self.skipped = 0
        self._values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._baselines: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        if row["status"] != "ok":
            self.skipped += 1
            return
        found = {one["method"]: one for one in row["explanations"] if one.get("metrics") is not None}
        for name, one in found.items():
            self._note(self._values[name], {**one["metrics"], SECONDS: one.get(SECONDS)})
        for name, measured in (row.get("baselines") or {}).items():
            self._note(self._baselines[name], measured)
        self.count += 1

    def _note(self, values: dict[str, list[float]], measured: dict[str, float | None]) -> None:
        """Add the values of one image; missing values become NaN, so that an index is the same image in all lists."""
        for name, value in measured.items():
            values[name] += [np.nan] * (self.count - len(values[name]))
            values[name].append(np.nan if value is None else value)

    @cached_property
    def standings(self) -> list[Standing]:
        """The methods, best first."""
        ranks = self._ranks()
        made = [self._standing(name, values, ranks.get(name)) for name, values in self._values.items()]
        return sorted(made, key=lambda one: (np.inf if one.rank is None else one.rank, one.seconds or 0))

    @cached_property
    def baselines(self) -> list[Standing]:
        """The baselines: maps that do not depend on the picture."""
        return [self._standing(name, values, None) for name, values in self._baselines.items()]

    def _standing(self, name: str, values: dict[str, list[float]], rank: float | None) -> Standing:
        figures = {metric: figure_of(self._of(values, metric)) for metric in self.metrics}
        seconds = self._of(values, SECONDS)
        took = float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else None
        known = {metric: figure for metric, figure in figures.items() if figure is not None}
        return Standing(name, known, rank, took, str(METHODS[name].cost) if name in METHODS else str(NOTHING))

    def _of(self, values: dict[str, list[float]], metric: str) -> Float64:
        listed = values.get(metric, [])
        return np.array([*listed, *[np.nan] * (self.count - len(listed))], float)

    @property
    def ranking(self) -> list[str]:
        """The metrics that order methods: they have a better direction, and sharpening a map does not raise them."""
        return [one for one in self.metrics if METRICS[one].more_is_better is not None and one not in _UNRANKED]

    def _ranks(self) -> dict[str, float]:
        """The rank of each method, 0 best, 1 last: its places are averaged over a group's metrics, then over groups."""
        by_group: dict[Group, list[dict[str, float]]] = defaultdict(list)
        for name in self.ranking:
            if places := self._places(name):
                by_group[METRICS[name].group].append(places)
        groups = [_mean_of(places) for places in by_group.values()]
        return _mean_of(groups) if groups else {}

    def _places(self, metric: str) -> dict[str, float]:
        """For each method, the share of the other methods that are better by more than chance; 0 is best."""
        listed = {name: self._of(values, metric) for name, values in self._values.items()}
        if len(listed) < 2 or any(figure_of(values) is None for values in listed.values()):
            return {}
        beaten = dict.fromkeys(listed, 0)
        for one, other in combinations(listed, 2):
            if gap := _gap(listed[one], listed[other]):
                beaten[other if (gap > 0) == METRICS[metric].more_is_better else one] += 1
        return {name: count / (len(listed) - 1) for name, count in beaten.items()}

    @cached_property
    def recommended(self) -> Standing | None:
        """The recommended method: the first; or a faster one, if no metric shows a difference between them.

        The faster one takes at most half the time. None if no metric orders methods. A method that does not look at the
        network, such as random, is never recommended.
        """
        able = [one for one in self.standings if one.rank is not None and _looks(one.name)]
        if not able:
            return None
        first = able[0]
        alike = [one for one in able[1:] if not self._told_apart(first.name, one.name)]
        quickest = min(alike, key=_seconds, default=first)
        return quickest if 2 * _seconds(quickest) <= _seconds(first) else first

    def _told_apart(self, one: str, other: str) -> list[str]:
        """The ranking metrics in which two methods differ by more than chance, and by at least SEEN."""
        pairs = {name: [self._of(self._values[method], name) for method in (one, other)] for name in self.ranking}
        return [name for name, (first, second) in pairs.items() if _gap(first, second)]

    def reasons(self) -> Iterator[str]:
        """Sentences with numbers: why the method is recommended, and why a metric has no value."""
        yield from self._recommendation()
        for name in self.metrics:
            if self.count and not any(name in one.figures for one in self.standings):
                yield f"{name} has no value here: it needs {_LACKING.get(METRICS[name].asks, METRICS[name].asks)}."

    def _recommendation(self) -> Iterator[str]:
        best = self.recommended
        if best is None:
            yield "No metric here orders methods: add --metric insertion,deletion, or boxes or masks of the objects."
            return
        yield f"Recommended: {best.name}, {_time(best.seconds)} per image ({best.cost})."
        others = [one for one in self.standings if one.name != best.name and one.rank is not None]
        for one in others[:3]:
            yield f"{best.name} and {one.name}: {self._compared(best, one)}."
        yield from self._beside_baselines(best)

    def _compared(self, best: Standing, other: Standing) -> str:
        apart = self._told_apart(best.name, other.name)
        if not apart:
            return f"no metric tells them apart on these {self.count} images; {other.name} takes {_time(other.seconds)}"
        said = []
        for name in apart:
            mine, theirs = best.figures[name].mean, other.figures[name].mean
            better = (mine > theirs) == METRICS[name].more_is_better
            said.append(f"{name} {mine:.3f} against {theirs:.3f} ({'better' if better else 'worse'})")
        return ", ".join(said)

    def _beside_baselines(self, best: Standing) -> Iterator[str]:
        """Sentences about metrics in which a baseline is as good as the recommended method."""
        for name in self.ranking:
            if name not in best.figures:
                continue
            own = self._of(self._values[best.name], name)
            sign = 1 if METRICS[name].more_is_better else -1
            for baseline, values in self._baselines.items():
                known = self._of(values, name)
                if np.isfinite(known).any() and not (differs(own, known) and sign * np.nanmean(own - known) > 0):
                    yield f"In {name} it is no better than the baseline '{baseline}': this metric shows nothing here."

    def __str__(self) -> str:
        """The table, and below it the recommended method and the reasons."""
        return "\n".join([*text_table(self.metrics, self.standings, self.baselines), self.counted, "", *self.reasons()])

    @property
    def counted(self) -> str:
        """The number of images, and the steps of the curves."""
        failed = f", {self.skipped} failed" if self.skipped else ""
        curves = f"; insertion and deletion in {STEPS} steps" if {"insertion", "deletion"} & {*self.metrics} else ""
        return f"{self.count} images{failed}; means with 95 % intervals{curves}"

    def to_dict(self) -> dict[str, Any]:
        """All results as a dict for JSON."""
        recommended = self.recommended
        return {
            "images": self.count,
            "failed": self.skipped,
            "steps": STEPS,
            "metrics": {name: METRICS[name].described() for name in self.metrics},
            "ranking": self.ranking,
            "methods": [asdict(one) for one in self.standings],
            "baselines": [asdict(one) for one in self.baselines],
            "recommended": None if recommended is None else recommended.name,
            "reasons": list(self.reasons()),
        }


def _gap(one: Float64, other: Float64) -> float:
    """The difference of the means over the same images, first minus second; 0 if it may be chance, or is below SEEN."""
    gap = float(np.nanmean(one - other)) if differs(one, other) else 0.0
    return gap if abs(gap) >= SEEN else 0.0


def _mean_of(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in several])) for name in several[0]}


def _looks(method: str) -> bool:
    """Whether a method depends on the layer or the class; if not, its map cannot explain the answer."""
    return method not in METHODS or METHODS[method].of_class or METHODS[method].at_layer


def _seconds(one: Standing) -> float:
    return one.seconds or 0.0


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
