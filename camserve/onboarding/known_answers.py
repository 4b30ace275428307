"""Known answers: does a model still say what its card says it says?"""

from collections.abc import Iterator
from dataclasses import dataclass

from camserve.errors import ModelError
from camserve.model import Model
from camserve.models.card import resolve_file

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
            image = resolve_file(known.image, model.home)
        except ModelError as error:
            yield Check(known.image, expected, str(error), None)
            continue
        made = model.explain(image, size=known.size)
        close = made.score is not None and abs(made.score - known.score) <= TOLERANCE
        yield Check(known.image, expected, made.in_short, made.class_name == known.label and close)
