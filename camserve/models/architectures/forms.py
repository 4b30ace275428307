"""Tells by its form whether a text names an architecture. No torch."""

import re

from camserve.catalogue.class_sentences import ZERO_SHOT
from camserve.models.architectures.hub_cache import repository_of
from camserve.models.compiled.model_file import is_model_file

# Libraries whose networks come untrained.
LIBRARIES = ("torchvision", "timm")


def is_architecture(text: str) -> bool:
    """Whether `text` has the form of an architecture rather than of a card's name or path."""
    where, _, name = text.rpartition(":")
    if where in LIBRARIES or repository_of(text) is not None or is_zero_shot(text) or is_model_file(text):
        return True
    return bool(re.fullmatch(r".+\.py|\w+(\.\w+)*", where)) and bool(re.fullmatch(r"[^\W\d]\w*(\.\w+)*", name))


def is_untrained(architecture: str) -> bool:
    """Whether it is certain that the network comes with random weights; a factory may load its own."""
    return architecture.partition(":")[0] in LIBRARIES and repository_of(architecture) is None


def is_zero_shot(architecture: str) -> bool:
    """Whether the name is that of a model that compares images with sentences."""
    return architecture.startswith(ZERO_SHOT)
