"""A suspected shortcut put to the test: cover the place, and cover as much elsewhere; see what the model still says."""

from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.batch.inputs import Item
from camserve.batch.plan import Plan
from camserve.batch.rows import read_rows
from camserve.batch.shortcuts import Shortcut
from camserve.batch.sketch import SIDE, from_text, hot_cells
from camserve.batch.statistics import explained
from camserve.batch.work import open_item
from camserve.errors import CamserveError
from camserve.models import Model

IMAGES = 8  # tried for each suspicion

Pixels = npt.NDArray[np.uint8]


def cover(model: Model, plan: Plan, shortcut: Shortcut, size: str | int | None = None) -> dict[str, Any] | None:
    """The mean score of the class in up to 8 images that show the shortcut: before, with the region covered, and with
    the region's mirror image through the middle covered.

    Covered is painted with the photograph's mean colour. None where no image can be read any more.
    """
    scores = []
    for item, index in _examples(plan, shortcut):
        try:
            pixels = np.asarray(open_item(model, item).image)
        except CamserveError:
            continue
        opposite = shortcut.cells[::-1, ::-1] & ~shortcut.cells
        variants = pixels, painted(pixels, shortcut.cells), painted(pixels, opposite)
        scores.append([model.explain(one, target=index, size=size).score for one in variants])
    if not scores:
        return None
    before, covered, elsewhere = np.mean(scores, axis=0).tolist()
    return {"images": len(scores), "before": before, "covered": covered, "elsewhere": elsewhere}


def painted(pixels: Pixels, cells: npt.NDArray[np.bool_]) -> Pixels:
    """A copy of (H, W, 3) with the pixels of `cells` (16, 16) in the mean colour."""
    rows, columns = (np.arange(length) * SIDE // length for length in pixels.shape[:2])
    changed = pixels.copy()
    changed[cells[np.ix_(rows, columns)]] = pixels.reshape(-1, 3).mean(0).round().astype(np.uint8)
    return changed


def _examples(plan: Plan, shortcut: Shortcut) -> list[tuple[Item, int]]:
    """Images of the class that are hot there, with the class explained."""
    rows = explained(read_rows(plan.out))
    showing = (
        (row["file"], one["class_index"])
        for row, one in rows
        if shortcut.class_index in (None, one["class_index"])
        and (hot_cells(from_text(one["sketch"])) & shortcut.cells).any()
    )
    wanted = dict(islice(showing, IMAGES))
    return [(item, wanted[item.name]) for item in plan.items() if item.name in wanted]
