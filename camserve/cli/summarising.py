"""The last lines of `camserve batch`: how many answers are right, each class, the worst cases, and the findings."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camserve.batch import Summary
    from camserve.findings.answers import Answers
    from camserve.findings.confusion import ClassAnswers

_CLASSES = 10  # that have a line each
_CASES = 3  # of everything else that is listed
_SENTENCES = 6
_WIDTH = 24  # characters of a class name in the table


def in_words(summary: "Summary", out: Path) -> Iterator[str]:
    """Lines of text; the last one says where the page is."""
    answers = summary.answers
    unsure = f", {answers.unsure} unsure" if answers.unsure else ""
    yield f"{summary.explained} explained, {summary.failed} failed{unsure}"
    if answers.known:
        yield answers.in_words
        yield from _by_class(answers.classes)
        yield from _mistakes(answers)
    if answers.surest:
        named = (f"{one['class_name']} {one['score']:.2f} ({one['file']})" for one in answers.surest)
        yield f"surest: {', '.join(named)}"
    found = summary.findings.get("sentences", [])
    yield from (f"- {text}" for text in found[:_SENTENCES])
    if len(found) > _SENTENCES:
        yield f"- {len(found) - _SENTENCES} more in {out / 'findings.json'}"
    yield f"-> {out / 'index.html'}"


def _by_class(classes: "list[ClassAnswers]") -> Iterator[str]:
    """A table of classes. If there are many classes, only the worst of those that have enough images."""
    from camserve.findings.shortcuts import FEWEST

    told = classes if len(classes) <= _CLASSES else [one for one in classes if one.images >= FEWEST]
    if not told:
        yield f"by class: none of {len(classes)} classes has {FEWEST} images or more; findings.json lists them all"
        return
    shown = told[:_CLASSES]
    names = [_cut(one.class_name) for one in shown]
    width = max(len("class"), *map(len, names))
    yield f"  {'class':{width}}  images  right  recall  precision"
    for name, one in zip(names, shown, strict=True):
        yield f"  {name:{width}}  {one.images:6}  {one.right:5}  {_share(one.recall):>6}  {_share(one.precision):>9}"
    if len(classes) > len(shown):
        yield f"  the worst classes with at least {FEWEST} images; findings.json lists all {len(classes)} classes"


def _mistakes(answers: "Answers") -> Iterator[str]:
    pairs = [one for one in answers.confusion.pairs[:_CASES] if one["count"] > 1]
    if pairs:
        said = (f"{one['expected']} predicted as {one['predicted']}, {one['count']} of {one['of']}" for one in pairs)
        yield f"confused most: {'; '.join(said)}"
    if answers.worst:
        yield f"worst: {'; '.join(_case(one) for one in answers.worst[:_CASES])}"


def _case(one: dict[str, Any]) -> str:
    score = "" if one["score"] is None else f" {one['score']:.2f}"
    return f"{one['predicted']}{score} for {one['expected']} ({one['file']})"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _cut(name: str) -> str:
    return name if len(name) <= _WIDTH else f"{name[: _WIDTH - 3]}..."
