"""Compares two runs: which decisions changed, how far the maps moved, and whether the changes are within limits.

Both results are sorted by name and are read side by side, so memory does not grow with the number of images.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from camserve.errors import OptionError
from camserve.findings.map_distance import Distribution, Move, move
from camserve.findings.new_shortcuts import new_shortcuts
from camserve.findings.results import Origin, Row, name_in, origin_of, read_rows, undone
from camserve.findings.statistics import main_explanation
from camserve.system.folder_lock import reading_from

WORST = 60  # images that are kept for the page

# For limits that are shares: the value that allows everything.
_LOOSEST = {"changed": 1, "overlap": 0, "correlation": -1, "shift": 1, "accuracy": 1, "failed": 1}


@dataclass(frozen=True)
class Limits:
    """The limits of change. They are shares of the images unless stated otherwise.

    changed: largest share of changed decisions. overlap, correlation: smallest mean overlap of hot cells (intersection
    over union, 0..1) and smallest mean rank correlation of cells (-1..1). shift: largest mean shift of the heat, in
    diagonals of the photograph. accuracy: largest loss of accuracy, if classes are known. failed: largest share of
    images that fail only in B. shortcuts: largest number of new confirmed shortcuts.

    Raises OptionError for a value that is not a number, and for a share that nothing can break, such as 5 instead of
    0.05.
    """

    changed: float = 0.05
    overlap: float = 0.5
    correlation: float = 0.6
    shift: float = 0.1
    accuracy: float = 0.01
    failed: float = 0.0
    shortcuts: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value):
                raise OptionError(f"{name} = {value}: allowed are numbers, such as {getattr(Limits, name):g}")
            loosest = _LOOSEST.get(name)
            if loosest is not None and (value > loosest if loosest == 1 else value < loosest):
                raise OptionError(
                    f"{name} = {value:g}: nothing can break this limit. It is a share, such as 0.05 for 5 %; {loosest} "
                    f"allows everything, and the default is {getattr(Limits, name):g}"
                )


class Check(NamedTuple):
    """One line of the verdict. value: None if it is unknown. limit: in words.

    images: if the value is a share, the number of images, out of `of`; None if the value is a mean over `of` maps.
    """

    name: str
    value: float | None
    limit: str
    passed: bool
    images: int | None = None
    of: int | None = None

    @property
    def found(self) -> str:
        """The value in words, such as "23 of 200 (0.115)" or, for a mean, "0.631 over 190 maps"."""
        if self.value is None:
            return "cannot tell"
        if self.images is not None:
            return f"{self.images} of {self.of} ({self.value:.3g})"
        return f"{self.value:.3g}" + ("" if self.of is None else f" over {self.of} maps")


@dataclass
class Difference:
    """The difference between run A and run B. Most fields are numbers of images.

    only_a, only_b: images that the other run does not have. undone_a, undone_b: images that an unfinished run has not
    explained yet. other_image: the same name, but different bytes. changed: another decision. failed: failed only in B.
    right_a, right_b: right answers among the `known` images, whose class is known. worst: cases to show, the worst
    first. shortcuts: confirmed new shortcuts of B, in words; suspected: new ones neither confirmed nor refuted;
    untold: what run B cannot show; blind: whether B has too few images to find any shortcut. a, b: how the runs were
    made, if they record it.
    """

    both: int = 0
    only_a: int = 0
    only_b: int = 0
    undone_a: int = 0
    undone_b: int = 0
    other_image: int = 0
    changed: int = 0
    failed: int = 0
    recovered: int = 0
    known: int = 0
    right_a: int = 0
    right_b: int = 0
    compared: int = 0
    overlap: Distribution = field(default_factory=lambda: Distribution(0))
    correlation: Distribution = field(default_factory=lambda: Distribution(-1))
    shift: Distribution = field(default_factory=lambda: Distribution(0))
    shortcuts: list[str] = field(default_factory=list)
    suspected: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    blind: bool = False
    worst: list[dict[str, Any]] = field(default_factory=list)
    a: Origin | None = None
    b: Origin | None = None

    @property
    def other_classes(self) -> str:
        """A sentence if the models have different numbers of classes; "" if not, or if unknown."""
        counts = [run.classes for run in (self.a, self.b) if run is not None and run.classes is not None]
        if len(set(counts)) < 2:
            return ""
        return f"A has {counts[0]} classes, B {counts[1]}: decisions are compared by class name."


def compare_runs(a: Path, b: Path) -> Difference:
    """Compare run B with run A. Both are folders of `camserve batch`.

    Raises OptionError if they have no image in common, or if a run is being written.
    """
    with reading_from(a), reading_from(b):
        made = Difference(a=origin_of(a), b=origin_of(b), undone_a=undone(a), undone_b=undone(b))
        cases = (case for pair in _pairs(a, b, made) if (case := _compared(*pair, made)) is not None)
        made.worst = heapq.nlargest(WORST, cases, key=lambda case: case["badness"])
        if not made.both:
            raise OptionError(f"'{a}' and '{b}' have no image in common; run both over the same images")
        made.shortcuts, made.suspected, made.untold, made.blind = new_shortcuts(a, b)
    return made


def checks(difference: Difference, limits: Limits) -> list[Check]:
    """Each limit with the value found, and whether it holds. If no maps could be compared, the limits of maps fail."""
    both, maps = max(difference.both, 1), difference.compared
    changed, failed = difference.changed / both, difference.failed / both
    lost = difference.right_a - difference.right_b
    new = None if difference.blind else len(difference.shortcuts)
    found = [
        Check(
            "decisions changed",
            changed,
            f"at most {limits.changed:g}",
            changed <= limits.changed,
            difference.changed,
            both,
        ),
        *(
            Check(f"map {name}, mean", mean, f"at least {least:g}", mean is not None and mean >= least, of=maps)
            for name, mean, least in (
                ("overlap", difference.overlap.mean, limits.overlap),
                ("correlation", difference.correlation.mean, limits.correlation),
            )
        ),
        _at_most("map shift, mean", difference.shift.mean, limits.shift)._replace(of=maps),
        _at_most("new confirmed shortcuts", new, limits.shortcuts),
        Check("newly failed", failed, f"at most {limits.failed:g}", failed <= limits.failed, difference.failed, both),
    ]
    if difference.known:
        fall = _at_most("accuracy lost", lost / difference.known, limits.accuracy)
        found.append(fall._replace(images=lost, of=difference.known))
    return found


def to_dict(difference: Difference, found: list[Check]) -> dict[str, Any]:
    """The difference and the checks as a dict for JSON."""
    counts = {key: value for key, value in asdict(difference).items() if type(value) is int}
    moved = {
        name: {"mean": one.mean, "median": one.median}
        for name, one in vars(difference).items()
        if isinstance(one, Distribution)
    }
    passed = all(check.passed for check in found)
    runs = {side: one and one._asdict() for side, one in (("a", difference.a), ("b", difference.b))}
    told = {"shortcuts": difference.shortcuts, "suspected": difference.suspected, "cannot_tell": difference.untold}
    listed = {"runs": runs, **told, "worst": difference.worst}
    return {"passed": passed, "checks": [check._asdict() for check in found], **counts, "maps": moved, **listed}


def _at_most(name: str, value: float | None, most: float) -> Check:
    return Check(name, value, f"at most {most:g}", value is None or value <= most)


def _pairs(a: Path, b: Path, made: Difference) -> Iterator[tuple[Row, Row]]:
    """Pairs of rows with the same name. Rows of only one run are counted."""
    first, second = read_rows(a), read_rows(b)
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and name_in(one) < name_in(other)):
            made.only_a += 1
            one = next(first, None)
        elif one is None or name_in(other) < name_in(one):
            made.only_b += 1
            other = next(second, None)
        else:
            yield one, other
            one, other = next(first, None), next(second, None)


def _compared(one: Row, other: Row, made: Difference) -> dict[str, Any] | None:
    """Count an image, and return its case for the page; None if it failed in a run."""
    made.both += 1
    made.failed += one["status"] == "ok" and other["status"] != "ok"
    made.recovered += one["status"] != "ok" and other["status"] == "ok"
    if one["status"] != "ok" or other["status"] != "ok":
        return None
    if one["sha256"] != other["sha256"]:
        made.other_image += 1
    changed = one["predicted"]["class_name"] != other["predicted"]["class_name"]
    made.changed += changed
    _count_right(one, other, made)
    pair = _same_class(one, other)
    moved = None if pair is None else move(*pair)
    if moved is not None:
        made.compared += 1
        for name, value in moved._asdict().items():
            getattr(made, name).add(value)
    return _case(one, other, changed, pair, moved)


def _count_right(one: Row, other: Row, made: Difference) -> None:
    if one["expected"] and other["expected"]:
        made.known += 1
        made.right_a += one["predicted"]["class_name"] == one["expected"]["class_name"]
        made.right_b += other["predicted"]["class_name"] == other["expected"]["class_name"]


def _same_class(one: Row, other: Row) -> tuple[Row, Row] | None:
    """A's main explanation, and B's explanation of the same class by the same method; None if B has none."""
    main = main_explanation(one)
    if main is None:
        return None
    key = main["class_name"], main["method"]
    found = (each for each in other["explanations"] if (each["class_name"], each["method"]) == key)
    same = next(found, None)
    return None if same is None else (main, same)


def _case(one: Row, other: Row, changed: bool, pair: tuple[Row, Row] | None, moved: Move | None) -> dict[str, Any]:
    first, second = pair or (main_explanation(one), main_explanation(other))
    assert first is not None  # both are ok
    assert second is not None
    sure = other["predicted"]["score"] or 0
    return {
        "file": one["file"],
        "badness": (1 + sure if changed else 0) + (0 if moved is None else 1 - moved.overlap),
        "changed": changed,
        "a": _seen(one, first),
        "b": _seen(other, second),
        "expected": one["expected"] and one["expected"]["class_name"],
        "move": moved and moved._asdict(),
    }


def _seen(row: Row, one: Row) -> dict[str, Any]:
    """One side of a case: the decision, and the map that was compared."""
    files, predicted = one["files"], row["predicted"]
    return {
        "predicted": predicted["class_name"], "score": predicted["score"], "of": one["class_name"],
        "thumbnail": files.get("thumbnail") or files.get("heatmap"), "overlay": files.get("overlay"),
    }  # fmt: skip
