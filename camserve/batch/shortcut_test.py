"""A suspected shortcut put to the test: cover the place, and cover as much elsewhere; see what the model still says."""

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

# The strongest suspicions are tested, on so many images each: where images come in near copies, hundreds of classes can
# be suspected.
TESTED, IMAGES = 20, 8
# What a run may spend on it: a test is one suspicion on one image, which is explained three times. So of 400 images and
# more an eighth of the time goes into tests at most. On fewer images each more suspicions could be tested, and chance
# would confirm eight times as many: benchmarks/covering.py --images 4.
LEAST_TESTS, IMAGES_A_TEST = 16, 25
# What is covered elsewhere has at least this share of the place's cells: of a place about the middle of the photograph
# the mirror image is the place itself, and there is nothing to compare with.
COMPARABLE = 0.5
NOT_AMONG = f"only the {TESTED} strongest suspicions are put to the test"
NO_TESTS = "the tests that a run of so many images has went to stronger suspicions"
NO_MIRROR = "it lies about the middle, so there is no place opposite to compare with"
NO_IMAGE = "none of its images could be read again, or none has a score"

Pixels = npt.NDArray[Any]
Scores = tuple[float, ...]
# By an image's name the class explained.
Examples = dict[str, int]


def cover(model: Model, plan: Plan, shortcuts: Sequence[Shortcut], size: str | int | None = None) -> list[Tested]:
    """Of each shortcut the mean score of the class in up to 8 images that show it: before, with the region covered, and
    with the region's mirror image through the middle covered; or why that was not done.

    Covered is painted with the photograph's mean colour. Not done are those after the first 20, those whose mirror
    image is mostly the place itself, those for which the run has no tests left, and those of which no image can be read
    any more. Two passes, over the results and the plan, however many shortcuts there are.
    """
    why_not = [_why_not(place, one) for place, one in enumerate(shortcuts)]
    testable = [place for place, reason in enumerate(why_not) if reason is None]
    asked, left = testable[: suspicions_tested(plan.count)], testable[suspicions_tested(plan.count) :]
    why_not = [NO_TESTS if place in left else reason for place, reason in enumerate(why_not)]
    examples = _examples(plan, shortcuts, asked)
    scores: list[list[Scores]] = [[] for _ in shortcuts]

    def tested(test: tuple[int, Item]) -> tuple[int, Scores | None]:
        """The place of a shortcut, and its scores on one image."""
        place, item = test
        return place, _scores(model, item, examples[place][item.name], shortcuts[place].cells, size)

    threads = model.workers.count + 1
    for future in in_order(tested, _tests(plan, examples), threads):
        place, found = future.result()
        if found is not None:
            scores[place].append(found)
    return [reason or _means(found) for reason, found in zip(why_not, scores, strict=True)]


def suspicions_tested(images: int) -> int:
    """How many suspicions a run of so many images puts to the test: one test for every 25 images, and at least 16."""
    return min(TESTED, max(LEAST_TESTS, images // IMAGES_A_TEST) // IMAGES)


def _why_not(place: int, shortcut: Shortcut) -> str | None:
    """Why a suspicion is not put to the test; None where it is. place: among all, the strongest first."""
    if place >= TESTED:
        return NOT_AMONG
    cells = shortcut.cells
    return NO_MIRROR if _opposite(cells).sum() < COMPARABLE * cells.sum() else None


def _opposite(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mirror image of a place (16, 16) through the middle, less the place itself."""
    mirrored: npt.NDArray[np.bool_] = cells[::-1, ::-1] & ~cells
    return mirrored


def _tests(plan: Plan, examples: Sequence[Examples]) -> Iterator[tuple[int, Item]]:
    """The place of a shortcut and an image to test it on, in the plan's order."""
    for item in plan.items() if any(examples) else ():
        yield from ((place, item) for place, wanted in enumerate(examples) if item.name in wanted)


def _scores(
    model: Model, item: Item, index: int, cells: npt.NDArray[np.bool_], size: str | int | None
) -> Scores | None:
    """The class's score before, with `cells` covered, and with their mirror image; None without the image.

    For the input that the map is of: the model's own evaluation crop may leave the place out.
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
    """A copy of (H, W, c) with the pixels of `cells` (16, 16) in the mean colour."""
    rows, columns = (np.arange(length) * SIDE // length for length in pixels.shape[:2])
    changed = pixels.copy()
    colour = pixels.reshape(-1, pixels.shape[2]).mean(0)
    changed[cells[np.ix_(rows, columns)]] = colour if pixels.dtype.kind == "f" else colour.round().astype(pixels.dtype)
    return changed


def _examples(plan: Plan, shortcuts: Sequence[Shortcut], asked: Sequence[int]) -> list[Examples]:
    """For each shortcut images that are hot there, with the class explained; none for those not asked for."""
    found: list[Examples] = [{} for _ in shortcuts]
    for row, one in explained(read_rows(plan.out)):
        lacking = [place for place in asked if len(found[place]) < IMAGES]
        if not lacking:
            break
        places = [place for place in lacking if shortcuts[place].class_index in (None, one["class_index"])]
        if places and one["score"] is not None:  # which it is where the model overflowed
            hot = hot_cells(from_text(one["sketch"]))
            for place in places:
                if (hot & shortcuts[place].cells).any():
                    found[place][name_in(row)] = one["class_index"]
    return found
