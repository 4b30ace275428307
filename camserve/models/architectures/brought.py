"""What the library of a network states about it: the input it was trained with, its class names, its scores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from camserve.models.compiled.model_file import ModelFile, stated_by

# The names that transformers gives to classes without a name.
_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class Brought:
    """What the library states. It is used where the user states nothing.

    input: fields of `camserve.models.card.Input`. labels: the class names. scores: as in a card. guess: a sentence that
    says what is only a guess; "" if nothing is.
    """

    input: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    scores: str | None = None
    guess: str = ""


def names_given(names: Sequence[str]) -> Sequence[str] | None:
    """The names, or None if they are only numbers: "LABEL_0" and so on."""
    return None if not names or all(_UNNAMED.fullmatch(name) for name in names) else names


def brought_by_file(file: ModelFile) -> Brought:
    """What a model file states about its network."""
    known = "mean" in file.pixels
    return Brought(input=stated_by(file), guess="" if known else "the file does not say how pixels become its input")
