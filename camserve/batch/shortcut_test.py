"""A suspected shortcut put to the test: cover the place, and cover as much elsewhere; see what the model still says."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.batch.explain_item import open_item
from camserve.batch.plan import Plan
from camserve.datasets.inputs import Item
from camserve.errors import CamserveError
from camserve.explanation.class_scores import scores_of
from camserve.findings.results import name_in, read_rows
from camserve.findings.shortcuts import Shortcut
from camserve.findings.sketch import SIDE, from_text, hot_cells
from camserve.findings.statistics import explained
from camserve.model import Model
from camserve.system.ordered import in_order

# The strongest suspicions are tested, on so many images each: where images come in near copies, hundreds of classes can
# be suspected.
TESTED, IMAGES = 20, 8

Pixels = npt.NDArray[Any]
Scores = tuple[float, ...]
# By an image's name the class explained.
Examples = dict[str, int]


def cover(
    model: Model, plan: Plan, shortcuts: Sequence[Shortcut], size: str | int | None = None
) -> list[dict[str, Any] | None]:
    """Of each shortcut the mean score of the class in up to 8 images that show it: before, with the region covered, and
    with the region's mirror image through the middle covered.

    Covered is painted with the photograph's mean colour. None for those after the first 20, and where no image can be
    read any more. Two passes, over the results and the plan, however many shortcuts there are.
    """
    examples = _examples(plan, shortcuts[:TESTED])
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
    return [_means(one) if one else None for one in scores]


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
    pixels = np.asarray(photo.image) if photo.bands is None else photo.bands
    opposite = cells[::-1, ::-1] & ~cells
    pictures = pixels, painted(pixels, cells), painted(pixels, opposite)
    shown = (model.explain(one, target=index, size=size) for one in pictures)
    scored = partial(scores_of, each_alone=model.card.scores == "sigmoid")
    return tuple(float(scored(one.logits)[index]) for one in shown)


def _means(scores: list[Scores]) -> dict[str, Any]:
    before, covered, elsewhere = np.mean(scores, axis=0).tolist()
    return {"images": len(scores), "before": before, "covered": covered, "elsewhere": elsewhere}


def painted(pixels: Pixels, cells: npt.NDArray[np.bool_]) -> Pixels:
    """A copy of (H, W, c) with the pixels of `cells` (16, 16) in the mean colour."""
    rows, columns = (np.arange(length) * SIDE // length for length in pixels.shape[:2])
    changed = pixels.copy()
    colour = pixels.reshape(-1, pixels.shape[2]).mean(0)
    changed[cells[np.ix_(rows, columns)]] = colour if pixels.dtype.kind == "f" else colour.round().astype(pixels.dtype)
    return changed


def _examples(plan: Plan, shortcuts: Sequence[Shortcut]) -> list[Examples]:
    """For each shortcut images that are hot there, with the class explained."""
    found: list[Examples] = [{} for _ in shortcuts]
    for row, one in explained(read_rows(plan.out)):
        lacking = [place for place, images in enumerate(found) if len(images) < IMAGES]
        if not lacking:
            break
        asked = [place for place in lacking if shortcuts[place].class_index in (None, one["class_index"])]
        if asked and one["score"] is not None:  # which it is where the model overflowed
            hot = hot_cells(from_text(one["sketch"]))
            for place in asked:
                if (hot & shortcuts[place].cells).any():
                    found[place][name_in(row)] = one["class_index"]
    return found
