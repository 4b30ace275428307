"""Computes the findings of a run, which are kept as OUT/findings.json. Memory grows with the number of classes only.

For each image, the main explanation counts: the predicted class by the first method.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.catalogue.run_files import FINDINGS
from camserve.findings.answers import CONFIDENT, Answers, count_answers, is_wrong
from camserve.findings.cannot_tell import cannot_tell, few
from camserve.findings.covering import CANNOT_TELL, CONFIRMED, Tested, to_json, verdict
from camserve.findings.least_trusted import Trusts, is_doubtful
from camserve.findings.results import Row, read_rows, undone
from camserve.findings.sentences import SHORTCUT, SUSPECTED, of_shortcut, sentences
from camserve.findings.shortcuts import FEWEST, Shortcut, find_shortcuts
from camserve.findings.sketch import EVEN_BORDER, EVEN_CORNERS, from_text, hot_cells, to_text
from camserve.findings.statistics import Heat, Spread, distance, explained, gather, is_coarse, spreads
from camserve.system.files import open_file, write_whole

ALIKE = 0.95  # two classes coincide if their mean maps, each minus the overall mean, correlate at least this much
# From these shares of its heat, an image counts as hot on the border, in the corners, outside the object. Evenly spread
# heat has 0.44 and 0.25 in the first two.
BORDER, CORNER, OUTSIDE = 0.75, 0.5, 0.5
UNUSUAL = 3.0  # an image is an outlier if it is this many standard deviations above its class's mean distance
LISTED = 100  # images, pairs and classes that each finding lists

NOT_COVERED = "the place was not covered for a test"

Cover = Callable[[Sequence[Shortcut]], list[Tested]]


@dataclass(frozen=True)
class Findings:
    """The findings of a run. labels: class names. tested: the test of each shortcut, see batch/shortcut_test.py."""

    labels: Sequence[str]
    answers: Answers
    every: Heat
    classes: dict[int, Heat]
    spreads: dict[int, Spread]
    shortcuts: list[Shortcut]
    tested: list[Tested]

    def flags(self, row: Row, one: Row) -> list[str]:
        """The flags of one image: some of the names below."""
        wrong = is_wrong(row)
        said = {
            "wrong": wrong,
            "unsure": row.get("unsure", False),
            "confident and wrong": wrong and (row["predicted"]["score"] or 0) >= CONFIDENT,
            "border": (one["border"] or 0) >= BORDER,
            "corners": (one["corners"] or 0) >= CORNER,
            "outside the object": (one["outside"] or 0) >= OUTSIDE,
            "outlier": self.is_outlier(one),
            SHORTCUT: self.is_hot_in(self._confirmed, one),
            SUSPECTED: self.is_hot_in(self._untold, one),
            "doubtful": is_doubtful(one),
        }
        return [flag for flag, holds in said.items() if holds]

    def away(self, one: Row) -> float | None:
        """The distance of a map from its class's mean map, in standard deviations above the mean distance; None for
        classes with few images."""
        spread = self.spreads.get(one["class_index"])
        if spread is None or spread.count < FEWEST or spread.deviation == 0:
            return None
        far = distance(one, self.classes[one["class_index"]])
        return None if far is None else (far - spread.mean) / spread.deviation

    def is_outlier(self, one: Row) -> bool:
        """Whether the map is unlike the other maps of its class."""
        return (self.away(one) or 0) >= UNUSUAL

    def is_hot_in(self, places: dict[int | None, npt.NDArray[np.bool_]], one: Row) -> bool:
        """Whether the map is hot at the place of its class or of all classes (None). places: bool (16, 16) by class."""
        regions = [places[index] for index in (None, one["class_index"]) if index in places]
        if not regions or is_coarse(one):
            return False
        hot = hot_cells(from_text(one["sketch"]))
        return any(bool((hot & region).any()) for region in regions)

    @cached_property
    def _confirmed(self) -> dict[int | None, npt.NDArray[np.bool_]]:
        return self._places(CONFIRMED)

    @cached_property
    def _untold(self) -> dict[int | None, npt.NDArray[np.bool_]]:
        return self._places(CANNOT_TELL)

    def _places(self, state: str) -> dict[int | None, npt.NDArray[np.bool_]]:
        """The cells of shortcuts with this verdict, by class. A class has at most one shortcut."""
        pairs = zip(self.shortcuts, self.tested, strict=True)
        return {one.class_index: one.cells for one, tested in pairs if verdict(tested)[0] == state}


def find(out: Path, labels: Sequence[str], cover: Cover | None = None) -> Findings:
    """Compute the findings of the results in OUT. cover: tests shortcuts, see `camserve.batch.shortcut_test`."""
    every, classes = gather(read_rows(out))
    shortcuts = find_shortcuts(every, classes)
    tested: list[Tested] = cover(shortcuts) if cover else [NOT_COVERED] * len(shortcuts)
    answers = count_answers(read_rows(out))
    return Findings(labels, answers, every, classes, spreads(read_rows(out), classes), shortcuts, tested)


def write_findings(out: Path, findings: Findings) -> dict[str, Any]:
    """Write OUT/findings.json, and return its content."""
    facts = to_dict(findings, read_rows(out), undone(out))
    write_whole(out / FINDINGS, json.dumps(facts, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
    return facts


def kept_findings(out: Path) -> dict[str, Any]:
    """The short form of OUT/findings.json; {} if it cannot be read."""
    try:
        with open_file(out / FINDINGS) as file:
            return in_short(json.load(file))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def in_short(facts: dict[str, Any]) -> dict[str, Any]:
    """The sentences, the shortcuts in words, and what the run cannot show, from findings.json."""
    kept = ("class", "place", "verdict", "reason")
    shortcuts = [{key: one[key] for key in kept} for one in facts["shortcuts"]]
    return {"sentences": facts["sentences"], "shortcuts": shortcuts, "cannot_tell": facts["cannot_tell"]}


def to_dict(findings: Findings, rows: Iterable[Row], undone: int = 0) -> dict[str, Any]:
    """The content of findings.json. `sentences` are in English, the most serious first.

    undone: number of images that the run has not explained yet.
    """
    every = findings.every
    counts: dict[str, int] = {}
    confident: list[dict[str, Any]] = []
    outliers: list[dict[str, Any]] = []
    trusts = Trusts(LISTED)
    for row, one in explained(rows):
        flags = findings.flags(row, one)
        trusts.add(row, one)
        for flag in flags:
            counts[flag] = counts.get(flag, 0) + 1
        if "confident and wrong" in flags:
            confident = _largest([*confident, _confident(row, one)], "score")
        if "outlier" in flags:
            outliers = _largest([*outliers, _outlier(row, one, findings)], "deviations")
    facts = {
        "images": every.count,
        "undone": undone,
        "answers": findings.answers.to_dict(),
        "border": _share(every.border, EVEN_BORDER),
        "corners": _share(every.corners, EVEN_CORNERS),
        "outside": every.outside / every.with_objects if every.with_objects else None,
        "counts": counts,
        "coarse": every.coarse,
        "few": few(findings.classes)[0],
        "cannot_tell": list(cannot_tell(every, findings.classes)),
        "shortcuts": [_of_shortcut(*one, findings) for one in zip(findings.shortcuts, findings.tested, strict=True)],
        "confident_and_wrong": confident,
        "outliers": outliers,
        "trust": trusts.to_dict(),
        "alike": alike(findings),
        "classes": [_of_class(index, heat, findings) for index, heat in findings.classes.items()],
    }
    return {"sentences": [one.text for one in sentences(facts)], **facts}


def alike(findings: Findings) -> list[dict[str, Any]]:
    """Pairs of classes with coinciding mean maps. Both must differ from the overall mean by more than chance."""
    overall = findings.every.mean
    known = [
        index for index, heat in findings.classes.items()
        if heat.count >= FEWEST and np.linalg.norm(heat.mean - overall) > 3 * heat.error
    ]  # fmt: skip
    profiles = np.array([(findings.classes[index].mean - overall).ravel() for index in known]).reshape(-1, overall.size)
    profiles = profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-12)  # avoids division by 0
    pairs = (
        {"first": findings.labels[known[a]], "second": findings.labels[known[b]], "correlation": round(float(r), 3)}
        for a in range(len(known))
        for b, r in enumerate(profiles[:a] @ profiles[a])
        if r >= ALIKE
    )
    return _largest(pairs, "correlation")


def _confident(row: Row, one: Row) -> dict[str, Any]:
    predicted, expected = row["predicted"], row["expected"]
    other = next((o for o in row["explanations"] if o["class_index"] == expected["class_index"]), None)
    return {
        "file": row["file"], "score": predicted["score"], "predicted": predicted["class_name"],
        "expected": expected["class_name"], "expected_score": expected["score"],
        "overlap": None if other is None else round(overlap(one, other), 3),
    }  # fmt: skip


def _outlier(row: Row, one: Row, findings: Findings) -> dict[str, Any]:
    away = findings.away(one)
    assert away is not None
    return {"file": row["file"], "class": one["class_name"], "deviations": round(away, 2)}


def overlap(one: Row, other: Row) -> float:
    """Intersection over union of the hot cells of two explanations, 0..1; 1 if neither has hot cells."""
    first, second = (hot_cells(from_text(each["sketch"])) for each in (one, other))
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def _of_shortcut(one: Shortcut, tested: Tested, findings: Findings) -> dict[str, Any]:
    name = None if one.class_index is None else findings.labels[one.class_index]
    return {
        "class": name, "place": one.place, "here": one.here, "elsewhere": one.elsewhere, "images": one.count,
        "cells": to_text(one.cells.astype(np.float32)), **to_json(tested), "sentence": of_shortcut(one, name, tested),
    }  # fmt: skip


def _of_class(index: int, heat: Heat, findings: Findings) -> dict[str, Any]:
    mean = heat.mean / heat.mean.max() if heat.count else heat.mean
    return {
        "class_index": index,
        "class_name": findings.labels[index],
        "images": heat.count,
        "mean": to_text(mean.astype(np.float32)),
        "border": round(heat.border, 4),
        "corners": round(heat.corners, 4),
        "outside": round(heat.outside / heat.with_objects, 4) if heat.with_objects else None,
    }


def _share(share: float, even: float) -> dict[str, float]:
    return {"share": share, "even": even}


def _largest(found: Iterable[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return heapq.nlargest(LISTED, found, key=lambda one: one[key])
