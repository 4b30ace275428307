"""Sentences as classes, as doors take them: a list, or text with one a line or several between semicolons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camserve.errors import OptionError, TooMuch, shown

# What the names of models begin with that compare images with sentences.
ZERO_SHOT = "clip:"
# Of one request: so many sentences, of so many characters each. Who loads a model may give it more.
MOST_SENTENCES, LONGEST_SENTENCE = 100, 300


def parse_sentences(text: str) -> tuple[str, ...]:
    """The sentences in text: separated by semicolons, or by the ends of lines where there are several."""
    parts = text.splitlines() if len(text.strip().splitlines()) > 1 else text.split(";")
    return tuple(part.strip() for part in parts if part.strip())


def sentences_given(value: str | None) -> tuple[str, ...] | None:
    """What a command line gives: sentences, or a text file with one a line. Raises OptionError, TooMuch."""
    if value is None:
        return None
    if not value.endswith(".txt"):
        return asked_sentences(value)
    try:
        return asked_sentences([one.strip() for one in Path(value).read_text("utf-8-sig").splitlines() if one.strip()])
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read the sentences in '{value}': {error}") from None


def checked_sentences(sentences: Sequence[Any]) -> tuple[str, ...]:
    """`sentences`, if they can be told apart. Raises OptionError."""
    if not sentences:
        raise OptionError("there are no sentences: give labels, at least one, as in labels=['a tabby cat', 'a dog']")
    for one in sentences:
        if not isinstance(one, str) or not one.strip():
            raise OptionError(f"label {shown(one)} is no sentence; give text, as in 'a tabby cat'")
    twice = sorted({one for one in sentences if list(sentences).count(one) > 1})
    if twice:
        raise OptionError(f"label {shown(twice[0])} was given twice; each sentence is a class of its own")
    return tuple(sentences)


def asked_sentences(value: Any) -> tuple[str, ...]:
    """What one request asks for: a list, or text as `parse_sentences` reads it. Raises OptionError, TooMuch."""
    several = parse_sentences(value) if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        raise OptionError(f"labels {shown(value)} are no list of sentences")
    if len(several) > MOST_SENTENCES:
        raise TooMuch(f"{len(several)} labels were given; allowed are {MOST_SENTENCES} sentences in one request")
    for one in several:
        if isinstance(one, str) and len(one) > LONGEST_SENTENCE:
            raise TooMuch(f"label {shown(one)} has {len(one)} characters; allowed are {LONGEST_SENTENCE}")
    return checked_sentences(several)


def checked_templates(templates: Any) -> tuple[str, ...]:
    """Raises OptionError for what is no list of prompts with {} in them."""
    several = templates if isinstance(templates, list | tuple) else [templates]
    for one in several:
        if not isinstance(one, str) or "{}" not in one:
            raise OptionError(f"template {shown(one)} is no prompt with {{}} in it, as in 'a photo of a {{}}'")
    return tuple(several)
