"""Tests a suspected shortcut: covers the place, covers as much elsewhere, and compares the scores of the class."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.batch.open_item import open_item
from camserve.batch.plan import Plan
from camserve.datasets.inputs import Item
from camserve.errors import CamserveError
from camserve.explanation.class_scores import scores_of
from camserve.findings.covering import Covering, Tested
from camserve.findings.results import name_in, read_rows
from camserve.findings.shortcuts import Shortcut
from camserve.findings.sketch import SIDE, from_text, hot_cells
from camserve.findings.statistics import explained
from camserve.model import Model
from camserve.system.ordered import in_order

# The number of suspicions that are tested, the strongest first, and the images for each. If a dataset has near copies
# of images, there can be hundreds of suspicions.
TESTED, IMAGES = 20, 8
# The number of tests of a run. A test is one suspicion on one image, which is explained three times. So for 400 images
# or more, tests take at most an eighth of the time. With fewer images per suspicion a run could test more suspicions,
# but chance would confirm eight times as many: benchmarks/covering.py --images 4.
LEAST_TESTS, IMAGES_A_TEST = 16, 25
# The mirror image, without the place itself, must have at least this share of the place's cells. For a place in the
# middle of the photograph, the mirror image is the place itself, and there is nothing to compare with.
COMPARABLE = 0.5
NOT_AMONG = f"only the {TESTED} strongest suspicions are tested"
NO_TESTS = "a run of this many images has no tests left after the stronger suspicions"
NO_MIRROR = "it lies in the middle, so there is no opposite place to compare with"
NO_IMAGE = "no image of it could be read again, or no image has a score"

Pixels = npt.NDArray[Any]
Scores = tuple[float, ...]
# {name of an image: index of the explained class}
Examples = dict[str, int]


def cover(model: Model, plan: Plan, shortcuts: Sequence[Shortcut], size: str | int | None = None) -> list[Tested]:
    """Test each shortcut on up to 8 images that show it; return the mean scores of the class, or why there is no test.

    There are three scores: of the unchanged image, with the region covered, and with the region's mirror image through
    the middle covered. A covered region has the photograph's mean colour. There is no test for shortcuts after the
    first 20, if the mirror image is mostly the place itself, if the run has no tests left, and if no image can be read
    any more. It reads the results and the plan once each, for any number of shortcuts.
    """
    why_not = [_why_not(place, one) for place, one in enumerate(shortcuts)]
    testable = [place for place, reason in enumerate(why_not) if reason is None]
    asked, left = testable[: suspicions_tested(plan.count)], testable[suspicions_tested(plan.count) :]
    why_not = [NO_TESTS if place in left else reason for place, reason in enumerate(why_not)]
    examples = _examples(plan, shortcuts, asked)
    scores: list[list[Scores]] = [[] for _ in shortcuts]

    def tested(test: tuple[int, Item]) -> tuple[int, Scores | None]:
        """The index of a shortcut, and its scores on one image."""
        place, item = test
        return place, _scores(model, item, examples[place][item.name], shortcuts[place].cells, size)

    threads = model.workers.count + 1
    for future in in_order(tested, _tests(plan, examples), threads):
        place, found = future.result()
        if found is not None:
            scores[place].append(found)
    return [reason or _means(found) for reason, found in zip(why_not, scores, strict=True)]


def suspicions_tested(images: int) -> int:
    """How many suspicions a run of so many images tests: it has one test for every 25 images, but at least 16 tests."""
    return min(TESTED, max(LEAST_TESTS, images // IMAGES_A_TEST) // IMAGES)


def _why_not(place: int, shortcut: Shortcut) -> str | None:
    """Why a suspicion is not tested; None if it is. place: its index among all suspicions, strongest first."""
    if place >= TESTED:
        return NOT_AMONG
    cells = shortcut.cells
    return NO_MIRROR if _opposite(cells).sum() < COMPARABLE * cells.sum() else None


def _opposite(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mirror image of a place (16, 16) through the middle, without the place itself."""
    mirrored: npt.NDArray[np.bool_] = cells[::-1, ::-1] & ~cells
    return mirrored


def _tests(plan: Plan, examples: Sequence[Examples]) -> Iterator[tuple[int, Item]]:
    """Pairs of a shortcut's index and an image to test it on, in the plan's order."""
    for item in plan.items() if any(examples) else ():
        yield from ((place, item) for place, wanted in enumerate(examples) if item.name in wanted)


def _scores(
    model: Model, item: Item, index: int, cells: npt.NDArray[np.bool_], size: str | int | None
) -> Scores | None:
    """The class's score before, with `cells` covered, and with their mirror image covered; None if it cannot be read.

    size: the input size of the map; the model's own evaluation crop might leave the place out.
    """
    try:
        photo = open_item(model, item)
    except CamserveError:
        return None
    pixels = photo.pixels if photo.bands is None else photo.bands
    pictures = pixels, painted(pixels, cells), painted(pixels, _opposite(cells))
    shown = (model.explain(one, target=index, size=size) for one in pictures)
    scored = partial(scores_of, each_alone=model.card.scores == "sigmoid")
    return tuple(float(scored(one.logits)[index]) for one in shown)


def _means(scores: list[Scores]) -> Tested:
    if not scores:
        return NO_IMAGE
    before, covered, elsewhere = np.mean(scores, axis=0).tolist()
    worse = sum(with_place < with_mirror for _, with_place, with_mirror in scores)
    return Covering(len(scores), before, covered, elsewhere, worse)


def painted(pixels: Pixels, cells: npt.NDArray[np.bool_]) -> Pixels:
    """A copy of `pixels` (H, W, c) with the pixels of `cells` (16, 16) in the mean colour."""
    rows, columns = (np.arange(length) * SIDE // length for length in pixels.shape[:2])
    changed = pixels.copy()
    colour = pixels.reshape(-1, pixels.shape[2]).mean(0)
    changed[cells[np.ix_(rows, columns)]] = colour if pixels.dtype.kind == "f" else colour.round().astype(pixels.dtype)
    return changed


def _examples(plan: Plan, shortcuts: Sequence[Shortcut], asked: Sequence[int]) -> list[Examples]:
    """For each shortcut in `asked`, the images that are hot there, with the explained class; {} for the others."""
    found: list[Examples] = [{} for _ in shortcuts]
    for row, one in explained(read_rows(plan.out)):
        lacking = [place for place in asked if len(found[place]) < IMAGES]
        if not lacking:
            break
        places = [place for place in lacking if shortcuts[place].class_index in (None, one["class_index"])]
        if places and one["score"] is not None:  # it is None if the model overflowed
            hot = hot_cells(from_text(one["sketch"]))
            for place in places:
                if (hot & shortcuts[place].cells).any():
                    found[place][name_in(row)] = one["class_index"]
    return found
