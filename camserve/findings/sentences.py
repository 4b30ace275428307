"""Findings as English sentences."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from camserve.findings.answers import CONFIDENT
from camserve.findings.covering import CANNOT_TELL, CONFIRMED, REFUTED, Tested, verdict
from camserve.findings.shortcuts import Shortcut

SHORTCUT, SUSPECTED = "shortcut", "suspected shortcut"  # flags of images that are hot at the place of a shortcut
NOTED, NOTHING = "", "nothing"  # kinds of sentences: a finding, and the sentence that there are none


class Sentence(NamedTuple):
    """A finding in words.

    kind: CONFIRMED (a confirmed shortcut), NOTED, NOTHING, CANNOT_TELL or REFUTED. flag: the flag of its images, or
    None. of: the explained class, None for all classes.
    """

    text: str
    kind: str = NOTED
    flag: str | None = None
    of: str | None = None


def sentences(facts: dict[str, Any]) -> Iterator[Sentence]:
    """The findings of findings.json in words: the most serious first, then what the run cannot show, then one sentence
    with refuted shortcuts."""
    if facts["undone"]:
        yield Sentence(f"Unfinished: {_images(facts['undone'], 'is', 'are')} not explained yet; --resume continues.")
    shortcuts = facts["shortcuts"]
    worth_a_look = [*_of_shortcuts(shortcuts, CONFIRMED, SHORTCUT), *_of_images(facts)]
    yield from worth_a_look or [Sentence(_nothing(facts), NOTHING)]
    yield from _of_shortcuts(shortcuts, CANNOT_TELL, SUSPECTED)
    yield from (Sentence(text, CANNOT_TELL) for text in facts["cannot_tell"])
    refuted = [_named(one["class"], one["place"]) for one in shortcuts if one["verdict"] == REFUTED]
    if refuted:
        many = "1 suspected shortcut was" if len(refuted) == 1 else f"{len(refuted)} suspected shortcuts were"
        more = ", ..." if len(refuted) > _NAMED else ""
        yield Sentence(f"{many} tested and refuted: {', '.join(refuted[:_NAMED])}{more}.", REFUTED)


def _nothing(facts: dict[str, Any]) -> str:
    """A sentence that nothing was found. It names only what could be checked."""
    if not facts["images"]:
        return "Nothing was checked, because there is no map."
    untold = facts["cannot_tell"] or any(one["verdict"] == CANNOT_TELL for one in facts["shortcuts"])
    if untold:
        return "Nothing found, but not everything could be checked."
    wrong = f", no wrong answer with a score of {CONFIDENT:g} or more" if facts["answers"]["known"] else ""
    return (
        f"Nothing found in {_images(facts['images'])}: no class with its heat at one place, no map unlike the others "
        f"of its class, no answer with a low best score{wrong}."
    )


def of_shortcut(one: Shortcut, name: str | None, tested: Tested) -> str:
    """A suspected shortcut and the result of its test. name: the class, None for all classes."""
    if name is None:
        said = f"in all classes, the {one.place} is hot in {one.here:.0%} of {one.count} images"
    else:
        often = f"it is hot in {one.here:.0%} of its {one.count} images, in {one.elsewhere:.0%} of other images"
        said = f"the model looks for '{name}' at the {one.place} ({often})"
    state, reason = verdict(tested)
    if state == CONFIRMED:
        return f"Shortcut: {said}, and that place decides the answer: {reason}."
    if state == REFUTED:
        return f"No shortcut: {said}, but that place does not decide the answer: {reason}."
    return f"Cannot tell whether this is a shortcut: {said}; {reason}."


_NAMED = 3  # refuted shortcuts that are listed by name


def _of_shortcuts(shortcuts: list[dict[str, Any]], state: str, flag: str) -> Iterator[Sentence]:
    yield from (Sentence(one["sentence"], state, flag, one["class"]) for one in shortcuts if one["verdict"] == state)


def _of_images(facts: dict[str, Any]) -> Iterator[Sentence]:
    counts = facts["counts"]
    if number := counts.get("confident and wrong"):
        text = f"{_images(number, 'is', 'are')} wrong with a score of {CONFIDENT:g} or more."
        yield Sentence(text, flag="confident and wrong")
    if number := counts.get("unsure"):
        yield Sentence(f"The model is unsure of {_images(number)}: its best answer has a low score.", flag="unsure")
    if number := counts.get("outlier"):
        yield Sentence(f"{_images(number, 'has', 'have')} a map unlike the others of the same class.", flag="outlier")
    if number := counts.get("doubtful"):
        first = facts["trust"]["least"][0]
        text = f"{_images(number, 'has', 'have')} a map with doubtful trust; the least trusted: '{first['file']}'."
        yield Sentence(text, flag="doubtful")
    if number := counts.get("outside the object"):
        mean = f"{facts['outside']:.0%} on average"
        text = f"In {_images(number)} most of the heat is outside the object ({mean})."
        yield Sentence(text, flag="outside the object")
    if facts["alike"]:
        one = facts["alike"][0]
        pairs = "1 pair" if len(facts["alike"]) == 1 else f"{len(facts['alike'])} pairs"
        yield Sentence(f"{pairs} of classes with the same mean map: first '{one['first']}' and '{one['second']}'.")
    for flag, where in (("border", "on the border"), ("corners", "in the corners")):
        if number := counts.get(flag):
            mean, even = f"{facts[flag]['share']:.0%} on average", f"evenly spread heat has {facts[flag]['even']:.0%}"
            yield Sentence(f"In {_images(number)} the heat is {where} ({mean}; {even}).", flag=flag)


def _named(name: str | None, place: str) -> str:
    return f"{'all classes' if name is None else repr(name)} at the {place}"


def _images(number: int, singular: str = "", plural: str = "") -> str:
    return f"1 image {singular}".rstrip() if number == 1 else f"{number} images {plural}".rstrip()
