"""What a network brings along besides itself: the input it was trained with, its classes' names, its scores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from camserve.models.compiled.model_file import ModelFile, stated_by

# What transformers calls classes that nobody has named.
_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class Brought:
    """What counts where the user says nothing else.

    input: fields of `camserve.models.card.Input`. labels: the names of its classes. scores: as of a card. guess: what
    nobody states, in a sentence; "" where nothing is guessed.
    """

    input: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    scores: str | None = None
    guess: str = ""


def names_given(names: Sequence[str]) -> Sequence[str] | None:
    """The names, None where they are only numbers: "LABEL_0" and so on."""
    return None if not names or all(_UNNAMED.fullmatch(name) for name in names) else names


def brought_by_file(file: ModelFile) -> Brought:
    """What a model file brings along."""
    known = "mean" in file.pixels
    return Brought(input=stated_by(file), guess="" if known else "the file does not say how pixels become its input")
