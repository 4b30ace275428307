"""Counts of expected and predicted classes: the confusion matrix, and recall and precision of each class.

Only images whose class is known are counted. Memory grows with the number of different (expected, predicted) pairs.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from camserve.findings.results import Row

PAIRS = 100  # confusions that are listed, the most frequent first
MATRIX = 30  # the matrix is written for up to this many classes


@dataclass(frozen=True)
class ClassAnswers:
    """Counts of one class. images: images of it. right: how many of these are predicted as it. answered: all images
    predicted as it.
    """

    class_index: int
    class_name: str
    images: int
    right: int
    answered: int

    @property
    def recall(self) -> float | None:
        """The share of the images of the class that are predicted as it, 0..1; None if it has no images."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """The share of the images predicted as the class that belong to it, 0..1; None if there are no such images."""
        return self.right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "recall": self.recall, "precision": self.precision}


class Confusion:
    """Counts of (expected class, predicted class)."""

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
        """Every class that was expected or predicted: the lowest recall first, then the class with more images."""
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
        """Wrong answers, the most frequent first, as dicts. `of` is the number of images of the expected class."""
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
        """{"classes": names, "counts": a row per expected, a column per predicted class}; None for too many classes."""
        if not self.names or len(self.names) > MATRIX:
            return None
        indices = sorted(self.names)
        counts = [[self.counts[shown, said] for said in indices] for shown in indices]
        return {"classes": [self.names[index] for index in indices], "counts": counts}
