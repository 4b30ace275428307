"""The answers of a run: those with the best scores and, if classes are known, which answers are right."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from camserve.findings.confusion import ClassAnswers, Confusion
from camserve.findings.results import Row

SUREST = 3  # answers that are listed
WORST = 20  # wrong answers that are listed
CONFIDENT = 0.8  # a wrong answer with at least this score is confident


@dataclass(frozen=True)
class Answers:
    """The answers of a run.

    known: number of explained images whose class is known. right: how many of these are predicted correctly. unknown:
    number of the other explained images. unsure: number of images whose best score is low, see `explain.unsure_below`.
    surest: the answers with the best scores, the best first: {"file", "class_name", "score"}. worst: wrong answers, the
    highest score first: {"file", "score", "predicted", "expected", "expected_score"}. confusion: counts of expected and
    predicted classes.
    """

    known: int = 0
    right: int = 0
    unknown: int = 0
    unsure: int = 0
    surest: tuple[dict[str, Any], ...] = ()
    worst: tuple[dict[str, Any], ...] = ()
    confusion: Confusion = field(default_factory=Confusion, compare=False)

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, 0..1; None if no class is known."""
        return self.right / self.known if self.known else None

    @property
    def classes(self) -> list[ClassAnswers]:
        """The classes that were expected or predicted, the lowest recall first."""
        return self.confusion.classes

    @property
    def in_words(self) -> str:
        """For example "11 of 60 right (18 %)"; "" if no class is known."""
        if self.accuracy is None:
            return ""
        others = f", {self.unknown} more without a known class" if self.unknown else ""
        return f"{self.right} of {self.known} right ({100 * self.accuracy:.0f} %){others}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {"known": self.known, "right": self.right, "unknown": self.unknown, "accuracy": self.accuracy}
        named = {"unsure": self.unsure, "surest": list(self.surest), "worst": list(self.worst)}
        classes = [one.to_dict() for one in self.classes]
        return {
            **numbers, **named, "classes": classes, "confusions": self.confusion.pairs, "matrix": self.confusion.matrix,
        }  # fmt: skip


def count_answers(rows: Iterable[Row]) -> Answers:
    """Count the answers of these rows. Failed images have no answer."""
    known = right = unknown = unsure = 0
    surest: list[dict[str, Any]] = []
    worst: list[dict[str, Any]] = []
    confusion = Confusion()
    for row in rows:
        if row["status"] != "ok":
            continue
        predicted, expected = row["predicted"], row["expected"]
        unsure += row.get("unsure", False)
        if expected is None:
            unknown += 1
        else:
            known += 1
            confusion.add(expected, predicted)
            if is_wrong(row):
                worst = _most([*worst, _wrong(row)], WORST)
            else:
                right += 1
        if predicted["score"] is not None:
            one = {"file": row["file"], "class_name": predicted["class_name"], "score": predicted["score"]}
            surest = _most([*surest, one], SUREST)
    return Answers(known, right, unknown, unsure, tuple(surest), tuple(worst), confusion)


def is_wrong(row: Row) -> bool:
    """Whether the class is known and the prediction is another class."""
    expected = row["expected"]
    return expected is not None and expected["class_index"] != row["predicted"]["class_index"]


def _wrong(row: Row) -> dict[str, Any]:
    predicted, expected = row["predicted"], row["expected"]
    return {
        "file": row["file"], "score": predicted["score"], "predicted": predicted["class_name"],
        "expected": expected["class_name"], "expected_score": expected["score"],
    }  # fmt: skip


def _most(answers: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The answers with the best scores, the best first. Answers without a score come last."""
    return heapq.nlargest(count, answers, key=lambda one: -1 if one["score"] is None else one["score"])
