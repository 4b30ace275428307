"""What the model answered over a folder: the surest answers and, where classes are known, which are right."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from camserve.findings.confusion import ClassAnswers, Confusion
from camserve.findings.results import Row

SUREST = 3  # answers that are named
WORST = 20  # wrong answers that are named
CONFIDENT = 0.8  # score from which a wrong answer is a confident one


@dataclass(frozen=True)
class Answers:
    """known: explained images whose class is known. right: those of them that were answered with it. unknown: others.

    unsure: those whose best score is low, see `explain.unsure_below`. surest: the answers with the best scores, the
    best first: {"file", "class_name", "score"}. worst: wrong answers, those with the best scores first: {"file",
    "score", "predicted", "expected", "expected_score"}. confusion: which class was answered with which.
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
        """The share of right answers, 0..1; None where no class is known."""
        return self.right / self.known if self.known else None

    @property
    def classes(self) -> list[ClassAnswers]:
        """Of each class that was shown or answered: the lowest recall first."""
        return self.confusion.classes

    @property
    def in_words(self) -> str:
        """Such as "11 of 60 right (18 %)"; "" where no class is known."""
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
    """The answers of these rows; failed ones have none."""
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
    """Whether the answer is another class than the one that is known."""
    expected = row["expected"]
    return expected is not None and expected["class_index"] != row["predicted"]["class_index"]


def _wrong(row: Row) -> dict[str, Any]:
    predicted, expected = row["predicted"], row["expected"]
    return {
        "file": row["file"], "score": predicted["score"], "predicted": predicted["class_name"],
        "expected": expected["class_name"], "expected_score": expected["score"],
    }  # fmt: skip


def _most(answers: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Those with the best scores, the best first; what has none comes last."""
    return heapq.nlargest(count, answers, key=lambda one: -1 if one["score"] is None else one["score"])
