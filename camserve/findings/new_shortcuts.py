"""Shortcuts that run B has and run A does not."""

import json
from pathlib import Path
from typing import NamedTuple

from camserve.catalogue.run_files import FINDINGS
from camserve.findings.cannot_tell import cannot_tell, tells_nothing
from camserve.findings.covering import CANNOT_TELL, CONFIRMED, REFUTED, Tested, from_json, verdict
from camserve.findings.findings import NOT_COVERED
from camserve.findings.results import read_rows
from camserve.findings.shortcuts import Shortcut, find_shortcuts
from camserve.findings.statistics import gather
from camserve.system.files import open_file

Key = tuple[str, str]  # class and place, in words


class News(NamedTuple):
    """New shortcuts in words. shortcuts: confirmed. suspected: neither confirmed nor refuted, with the reason.

    untold: what run B cannot show. blind: whether B has too few images to find any shortcut.
    """

    shortcuts: list[str]
    suspected: list[str]
    untold: list[str]
    blind: bool


def new_shortcuts(a: Path, b: Path) -> News:
    """The shortcuts of B for a class and a place where A has no shortcut, or only a refuted one."""
    before, after = _shortcuts(a), _shortcuts(b)
    known = {key for key, (state, _) in before.items() if state != REFUTED}
    new = [(state, words) for key, (state, words) in after.items() if key not in known]
    every, classes = gather(read_rows(b))
    return News(
        [words for state, words in new if state == CONFIRMED],
        [words for state, words in new if state == CANNOT_TELL],
        list(cannot_tell(every, classes)),
        tells_nothing(every, classes),
    )


def _shortcuts(run: Path) -> dict[Key, tuple[str, str]]:
    """The suspected shortcuts of a run, each with its verdict and its words."""
    every, classes = gather(read_rows(run))
    names = {one["class_index"]: one["class_name"] for row in read_rows(run) for one in row.get("explanations", ())}
    tests, found = _tests(run), {}
    for one in find_shortcuts(every, classes):
        key = _named(None if one.class_index is None else names[one.class_index]), one.place
        state, reason = verdict(tests.get(key, NOT_COVERED))
        found[key] = state, f"{_in_words(key, one)}; {reason}"
    return found


def _tests(run: Path) -> dict[Key, Tested]:
    """The run's tests of its suspected shortcuts; {} for a run without findings."""
    try:
        with open_file(run / FINDINGS) as file:
            listed = json.load(file)["shortcuts"]
        return {(_named(one["class"]), one["place"]): from_json(one) for one in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _named(name: str | None) -> str:
    return "all classes" if name is None else f"'{name}'"


def _in_words(key: Key, one: Shortcut) -> str:
    return f"{key[0]} at the {key[1]}: hot in {one.here:.0%} of {one.count} images"
