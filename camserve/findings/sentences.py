"""Findings in English."""

from collections.abc import Iterator
from typing import Any

from camserve.findings.answers import CONFIDENT
from camserve.findings.shortcuts import Shortcut, is_refuted
from camserve.findings.statistics import COARSE


def sentences(facts: dict[str, Any]) -> Iterator[str]:
    """The findings of findings.json in words, most serious first; suspicions that their own test refutes come last."""
    yield from (one["sentence"] for one in facts["shortcuts"] if not one["refuted"])
    counts = facts["counts"]
    if counts.get("confident and wrong"):
        yield f"{_images(counts['confident and wrong'], 'is', 'are')} wrong with a score of {CONFIDENT:g} and more."
    if counts.get("unsure"):
        yield f"The model is unsure of {_images(counts['unsure'])}: its best answer has a low score."
    if counts.get("outlier"):
        yield f"{_images(counts['outlier'], 'has', 'have')} a map unlike those of the same class."
    if counts.get("outside the object"):
        mean = f"{facts['outside']:.0%} on average"
        yield f"In {_images(counts['outside the object'])} most heat lies outside the object; {mean}."
    if facts["alike"]:
        one = facts["alike"][0]
        pairs = "1 pair" if len(facts["alike"]) == 1 else f"{len(facts['alike'])} pairs"
        yield f"{pairs} of classes with maps that coincide: '{one['first']}' and '{one['second']}' first."
    for flag, where in (("border", "on the border"), ("corners", "in the corners")):
        if counts.get(flag):
            mean, even = f"{facts[flag]['share']:.0%} on average", f"even heat has {facts[flag]['even']:.0%}"
            yield f"In {_images(counts[flag])} the heat lies {where}; {mean}, {even}."
    if facts["coarse"]:
        yield (
            f"{_images(facts['coarse'], 'has', 'have')} a map of fewer than {COARSE} cells a side, too coarse to say "
            "where: no place is looked for in them."
        )
    yield from (one["sentence"] for one in facts["shortcuts"] if one["refuted"])


def of_shortcut(one: Shortcut, name: str | None, covered: dict[str, Any] | None) -> str:
    """A suspicion, and what became of it in the test. name: of the class, None for all of them."""
    if name is None:
        said = f"Whatever the class, the {one.place} is hot in {one.here:.0%} of {one.count} images"
    else:
        often = f"hot in {one.here:.0%} of its {one.count} images, in {one.elsewhere:.0%} of others"
        said = f"'{name}' is looked for at the {one.place}: {often}"
    if covered:
        said += (
            f". Covering that place takes the score from {covered['before']:.2f} to {covered['covered']:.2f}, "
            f"covering as much elsewhere to {covered['elsewhere']:.2f}"
        )
    if is_refuted(covered):
        return f"No shortcut: {said}, so that place does not decide."
    return f"Possible shortcut: {said}."


def _images(number: int, singular: str = "", plural: str = "") -> str:
    return f"1 image {singular}".rstrip() if number == 1 else f"{number} images {plural}".rstrip()
