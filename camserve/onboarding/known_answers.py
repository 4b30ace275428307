"""Known answers: does a model still say what its card says it says?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.errors import ModelError
from camserve.explanation.class_scores import scores_of
from camserve.model import Model
from camserve.models.card_files import resolve_file

# Another build of torch, another JPEG decoder: scores move in the third digit. A wrong mean moves the first.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Check:
    """One known answer held against what the model says now. holds: None where the image is not there."""

    image: str
    expected: str
    actual: str
    holds: bool | None


def check_known_answers(model: Model) -> Iterator[Check]:
    """Ask the model every question that its card knows the answer of."""
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
    """The best class for the input of the size that the card names, and its score."""
    index = int(logits.argmax())
    return model.labels[index], float(scores_of(logits, each_alone=model.card.scores == "sigmoid")[index])
