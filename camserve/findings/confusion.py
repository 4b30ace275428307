"""Which classes were answered with which: recall and precision of each class, and what is taken for what.

Only images whose class is known count. Memory grows with the pairs of classes that were confused.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from camserve.findings.results import Row

PAIRS = 100  # confusions that are named, the most frequent first
MATRIX = 30  # classes up to which the whole matrix is written


@dataclass(frozen=True)
class ClassAnswers:
    """images: that show the class. right: of these, answered with it. answered: with it, whatever they show."""

    class_index: int
    class_name: str
    images: int
    right: int
    answered: int

    @property
    def recall(self) -> float | None:
        """The accuracy of the class: the share of its images that are answered with it, 0..1; None without images."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """The share of the answers with this class that are right, 0..1; None where nothing was answered with it."""
        return self.right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "recall": self.recall, "precision": self.precision}


class Confusion:
    """Counts of (the class shown, the class answered)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()
        self.names: dict[int, str] = {}

    def add(self, expected: Row, predicted: Row) -> None:
        """Count one image. expected, predicted: `class_index` and `class_name` of each."""
        for one in (expected, predicted):
            self.names.setdefault(one["class_index"], one["class_name"])
        self.counts[expected["class_index"], predicted["class_index"]] += 1

    @property
    def classes(self) -> list[ClassAnswers]:
        """Every class that was shown or answered: the lowest recall first, then those of more images."""
        shown: Counter[int] = Counter()
        answered: Counter[int] = Counter()
        for (expected, predicted), count in self.counts.items():
            shown[expected] += count
            answered[predicted] += count
        found = (
            ClassAnswers(index, self.names[index], shown[index], self.counts[index, index], answered[index])
            for index in sorted(self.names)
        )
        return sorted(found, key=lambda one: (2 if one.recall is None else one.recall, -one.images))

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Wrong answers by how often: {"expected", "predicted", "count", "of"}, of: images of the class; indices."""
        images = {one.class_index: one.images for one in self.classes}
        wrong = [(pair, count) for pair, count in sorted(self.counts.items()) if pair[0] != pair[1]]
        return [
            {
                "expected": self.names[shown], "predicted": self.names[said], "count": count, "of": images[shown],
                "expected_index": shown, "predicted_index": said,
            }
            for (shown, said), count in sorted(wrong, key=lambda one: -one[1])[:PAIRS]
        ]  # fmt: skip

    @property
    def matrix(self) -> dict[str, Any] | None:
        """{"classes": names, "counts": a row for each class shown, a column for each answered}; None of too many."""
        if not self.names or len(self.names) > MATRIX:
            return None
        indices = sorted(self.names)
        counts = [[self.counts[shown, said] for said in indices] for shown in indices]
        return {"classes": [self.names[index] for index in indices], "counts": counts}
