"""What a model said of its classes: scores, order, and one class's part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """One class's part of what the model said. score: 0..1, None where there is no score. logit: before softmax."""

    class_index: int
    class_name: str
    score: float | None
    logit: float

    @property
    def in_short(self) -> str:
        """The score; where there is no score, the number itself."""
        return number_in_short(self.logit) if self.score is None else f"{self.score:.2f}"


def number_in_short(number: float) -> str:
    """Four digits of a number, or all of those before the point."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def scores_of(logits: Float32, *, each_alone: bool) -> Float32:
    """Softmax of the logits (C,), or their sigmoid, where classes do not exclude each other or there is but one."""
    exact = logits.astype(np.float64)
    with np.errstate(all="ignore"):  # of logits that are not finite no score is a number; the explanation warns of them
        if each_alone or len(exact) == 1:
            return (1 / (1 + np.exp(-exact))).astype(np.float32)
        powers = np.exp(exact - exact.max())
        scores: Float32 = (powers / powers.sum()).astype(np.float32)
    return scores


def ranked(logits: Float32) -> list[int]:
    """The indices of the classes by their logits (C,), the best first; of equal ones the lower index."""
    order: list[int] = np.argsort(-logits, kind="stable").tolist()
    return order
