"""The figures of every method over a folder, their order, and which one is recommended, with the reasons."""

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

# Any sharpening of a map raises these, so they order nothing: each has a neighbour that holds still.
_UNRANKED = ("energy", "grid_pg")
SECONDS = "seconds"
# Why a metric may have no value, by what it asks.
_LACKING = {
    Asks.MASK: "boxes or masks that say where the objects are",
    Asks.IMAGES: "labelled images of four classes that the model answers correctly, with a score of 0.5 or more",
}
# A difference of means less than this is none, however sure: it is not seen in three digits.
SEEN = 0.0005
# Points of the curves of insertion and deletion where a folder is evaluated: their papers' 224 take eleven times as
# long.
STEPS = 20


class Evaluation:
    """Methods x metrics over images: sums are made when they are asked for.

    metrics: names, in order. methods: names, in order of their mean rank where there is one. count: images. skipped:
    those that failed.
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
        """Fills up with NaN, so that the place in a list is always the image."""
        for name, value in measured.items():
            values[name] += [np.nan] * (self.count - len(values[name]))
            values[name].append(np.nan if value is None else value)

    @cached_property
    def standings(self) -> list[Standing]:
        """Of the methods, the best first."""
        ranks = self._ranks()
        made = [self._standing(name, values, ranks.get(name)) for name, values in self._values.items()]
        return sorted(made, key=lambda one: (np.inf if one.rank is None else one.rank, one.seconds or 0))

    @cached_property
    def baselines(self) -> list[Standing]:
        """Of maps that know nothing of the picture."""
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
        """The metrics that order methods: those that have a better side, and that sharpening a map does not change."""
        return [one for one in self.metrics if METRICS[one].more_is_better is not None and one not in _UNRANKED]

    def _ranks(self) -> dict[str, float]:
        """The mean over groups of the mean over their metrics of each method's place, 0 the best, 1 the last."""
        by_group: dict[Group, list[dict[str, float]]] = defaultdict(list)
        for name in self.ranking:
            if places := self._places(name):
                by_group[METRICS[name].group].append(places)
        groups = [_mean_of(places) for places in by_group.values()]
        return _mean_of(groups) if groups else {}

    def _places(self, metric: str) -> dict[str, float]:
        """The share of the other methods that are better than each by more than chance: 0 where none is."""
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
        """The first; or of those that no metric tells from it the quickest, where that takes half the time at most.

        None where nothing orders methods. One that looks at nothing, such as random, is never recommended.
        """
        able = [one for one in self.standings if one.rank is not None and _looks(one.name)]
        if not able:
            return None
        first = able[0]
        alike = [one for one in able[1:] if not self._told_apart(first.name, one.name)]
        quickest = min(alike, key=_seconds, default=first)
        return quickest if 2 * _seconds(quickest) <= _seconds(first) else first

    def _told_apart(self, one: str, other: str) -> list[str]:
        """The ranking metrics in which two methods differ by more than chance, and by enough to be seen."""
        pairs = {name: [self._of(self._values[method], name) for method in (one, other)] for name in self.ranking}
        return [name for name, (first, second) in pairs.items() if _gap(first, second)]

    def reasons(self) -> Iterator[str]:
        """Why the recommended method is, in sentences, each with its numbers; and why a metric has no value."""
        yield from self._recommendation()
        for name in self.metrics:
            if self.count and not any(name in one.figures for one in self.standings):
                yield f"{name} has no value here: it needs {_LACKING.get(METRICS[name].asks, METRICS[name].asks)}."

    def _recommendation(self) -> Iterator[str]:
        best = self.recommended
        if best is None:
            yield "No metric here orders methods: give --metric insertion,deletion, or boxes or masks of the objects."
            return
        yield f"Recommended: {best.name}, {_time(best.seconds)} for an image ({best.cost})."
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
        """Where a map that knows nothing does as well."""
        for name in self.ranking:
            if name not in best.figures:
                continue
            own = self._of(self._values[best.name], name)
            sign = 1 if METRICS[name].more_is_better else -1
            for baseline, values in self._baselines.items():
                known = self._of(values, name)
                if np.isfinite(known).any() and not (differs(own, known) and sign * np.nanmean(own - known) > 0):
                    yield f"In {name} it is no better than the baseline '{baseline}': this metric tells nothing here."

    def __str__(self) -> str:
        """The table, and below it what is recommended, and why."""
        return "\n".join([*text_table(self.metrics, self.standings, self.baselines), self.counted, "", *self.reasons()])

    @property
    def counted(self) -> str:
        """How many images, and how the curves were drawn."""
        failed = f", {self.skipped} failed" if self.skipped else ""
        curves = f"; insertion and deletion in {STEPS} steps" if {"insertion", "deletion"} & {*self.metrics} else ""
        return f"{self.count} images{failed}; means with 95 % intervals{curves}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
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
    """How much the first is more in the mean, of the same images; 0 where that is chance, or too little to be seen."""
    gap = float(np.nanmean(one - other)) if differs(one, other) else 0.0
    return gap if abs(gap) >= SEEN else 0.0


def _mean_of(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in several])) for name in several[0]}


def _looks(method: str) -> bool:
    """Whether a method looks at the layer or at the class: else it can have nothing to do with the answer."""
    return method not in METHODS or METHODS[method].of_class or METHODS[method].at_layer


def _seconds(one: Standing) -> float:
    return one.seconds or 0.0


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
