"""Sentences as classes: a list, or text with one sentence per line or with semicolons between sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camserve.errors import OptionError, TooMuch, shown

# The names of models that compare images with sentences begin with this.
ZERO_SHOT = "clip:"
# Limits of one request: the number of sentences, and the characters of each. Loading a model has no such limit.
MOST_SENTENCES, LONGEST_SENTENCE = 100, 300


def parse_sentences(text: str) -> tuple[str, ...]:
    """The sentences in a text: one per line if the text has several lines, else separated by semicolons."""
    parts = text.splitlines() if len(text.strip().splitlines()) > 1 else text.split(";")
    return tuple(part.strip() for part in parts if part.strip())


def sentences_given(value: str | None) -> tuple[str, ...] | None:
    """The sentences of a command line's value: the sentences themselves, or a .txt file with one per line.

    Raises OptionError, TooMuch.
    """
    if value is None:
        return None
    if not value.endswith(".txt"):
        return asked_sentences(value)
    try:
        return asked_sentences([one.strip() for one in Path(value).read_text("utf-8-sig").splitlines() if one.strip()])
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read the sentences in '{value}': {error}") from None


def checked_sentences(sentences: Sequence[Any]) -> tuple[str, ...]:
    """`sentences` as a tuple, if each one is text and no two are equal. Raises OptionError."""
    if not sentences:
        raise OptionError("there are no sentences: give labels, at least one, as in labels=['a tabby cat', 'a dog']")
    for one in sentences:
        if not isinstance(one, str) or not one.strip():
            raise OptionError(f"label {shown(one)} is not a sentence; give text, as in 'a tabby cat'")
    twice = sorted({one for one in sentences if list(sentences).count(one) > 1})
    if twice:
        raise OptionError(f"label {shown(twice[0])} was given twice; each sentence is a class of its own")
    return tuple(sentences)


def asked_sentences(value: Any) -> tuple[str, ...]:
    """The sentences of one request: a list, or text for `parse_sentences`. Raises OptionError, TooMuch."""
    several = parse_sentences(value) if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        raise OptionError(f"labels {shown(value)} is not a list of sentences")
    if len(several) > MOST_SENTENCES:
        raise TooMuch(f"{len(several)} labels were given; allowed are {MOST_SENTENCES} sentences in one request")
    for one in several:
        if isinstance(one, str) and len(one) > LONGEST_SENTENCE:
            raise TooMuch(f"label {shown(one)} has {len(one)} characters; allowed are {LONGEST_SENTENCE}")
    return checked_sentences(several)


def checked_templates(templates: Any) -> tuple[str, ...]:
    """`templates` as a tuple: one prompt, or a list of prompts, each with {} in it. Raises OptionError."""
    several = templates if isinstance(templates, list | tuple) else [templates]
    for one in several:
        if not isinstance(one, str) or "{}" not in one:
            raise OptionError(f"template {shown(one)} is not a prompt with {{}} in it, as in 'a photo of a {{}}'")
    return tuple(several)
