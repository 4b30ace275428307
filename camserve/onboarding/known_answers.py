"""Checks whether a model still gives the known answers in its card."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.errors import ModelError
from camserve.explanation.class_scores import scores_of
from camserve.model import Model
from camserve.models.card_files import resolve_file

# The allowed difference of scores. Another torch or JPEG decoder changes the third digit, a wrong mean the first.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Check:
    """One known answer, compared with the model's answer now. holds: None if the image does not exist."""

    image: str
    expected: str
    actual: str
    holds: bool | None


def check_known_answers(model: Model) -> Iterator[Check]:
    """Explain the image of every known answer in the model's card, and compare the answers."""
    for known in model.card.known:
        expected = f"{known.label} {known.score:.2f}"
        assert model.home is not None  # only a card has known answers
        try:
            image = resolve_file(known.image, model.home, model.settings.models.shared, key="known.image")
        except ModelError as error:
            yield Check(known.image, expected, str(error), None)
            continue
        best, score = _best(model, model.explain(image, size=known.size).logits)
        holds = best == known.label and abs(score - known.score) <= TOLERANCE
        yield Check(known.image, expected, f"{best} {score:.2f}", holds)


def _best(model: Model, logits: npt.NDArray[np.float32]) -> tuple[str, float]:
    """The name and the score of the class with the highest logit."""
    index = int(logits.argmax())
    return model.labels[index], float(scores_of(logits, each_alone=model.card.scores == "sigmoid")[index])
