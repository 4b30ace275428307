"""What the model answered over a folder: the surest answers and, where classes are known, how many are right."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from camserve.findings.results import Row

SUREST = 3  # answers that are named
CONFIDENT = 0.8  # score from which a wrong answer is a confident one


@dataclass(frozen=True)
class Answers:
    """known: explained images whose class is known. right: those of them that were answered with it. unknown: others.

    unsure: those whose best score is low, see `explain.unsure_below`. surest: the answers with the best scores, the
    best first: {"file", "class_name", "score"}.
    """

    known: int = 0
    right: int = 0
    unknown: int = 0
    unsure: int = 0
    surest: tuple[dict[str, Any], ...] = ()

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, 0..1; None where no class is known."""
        return self.right / self.known if self.known else None

    @property
    def in_words(self) -> str:
        """Such as "11 of 60 right (18 %)"; "" where no class is known."""
        if self.accuracy is None:
            return ""
        others = f", {self.unknown} more whose class nobody said" if self.unknown else ""
        return f"{self.right} of {self.known} right ({100 * self.accuracy:.0f} %){others}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {"known": self.known, "right": self.right, "unknown": self.unknown, "accuracy": self.accuracy}
        return {**numbers, "unsure": self.unsure, "surest": list(self.surest)}


def count_answers(rows: Iterable[Row]) -> Answers:
    """The answers of these rows; failed ones have none."""
    known = right = unknown = unsure = 0
    surest: list[dict[str, Any]] = []
    for row in rows:
        if row["status"] != "ok":
            continue
        predicted, expected = row["predicted"], row["expected"]
        unsure += row.get("unsure", False)
        if expected is None:
            unknown += 1
        else:
            known += 1
            right += predicted["class_index"] == expected["class_index"]
        if predicted["score"] is not None:
            one = {"file": row["file"], "class_name": predicted["class_name"], "score": predicted["score"]}
            surest = heapq.nlargest(SUREST, [*surest, one], key=lambda answer: answer["score"])
    return Answers(known, right, unknown, unsure, tuple(surest))
