"""A model's answer for its classes: scores, order, and the Answer for one class."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """The model's answer for one class. score: 0..1, None if there is no score. logit: the number before softmax."""

    class_index: int
    class_name: str
    score: float | None
    logit: float

    @property
    def in_short(self) -> str:
        """The score as text; without a score, the number itself."""
        return number_in_short(self.logit) if self.score is None else f"{self.score:.2f}"


def number_in_short(number: float) -> str:
    """Return a number with four digits, or with all digits before the point."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def scores_of(logits: Float32, *, each_alone: bool) -> Float32:
    """Return softmax of the logits (C,), or their sigmoid for independent classes or a single class."""
    exact = logits.astype(np.float64)
    with np.errstate(all="ignore"):  # logits that are not finite give NaN; the explanation warns
        if each_alone or len(exact) == 1:
            return (1 / (1 + np.exp(-exact))).astype(np.float32)
        powers = np.exp(exact - exact.max())
        scores: Float32 = (powers / powers.sum()).astype(np.float32)
    return scores


def ranked(logits: Float32) -> list[int]:
    """Return the class indices by logit (C,), the best first; among equal logits the lower index first."""
    order: list[int] = np.argsort(-logits, kind="stable").tolist()
    return order
