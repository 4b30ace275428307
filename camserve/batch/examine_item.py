"""Measures the metrics of one image of a batch: of each method's explanation, and of baselines."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from camserve.batch.batch_options import Options
from camserve.batch.open_item import open_item
from camserve.batch.outputs import Made
from camserve.batch.plan import read_plan
from camserve.catalogue.metric import Asks
from camserve.catalogue.metrics import METRICS
from camserve.datasets.ground_truth import Objects
from camserve.datasets.inputs import Item
from camserve.evaluation.examining import Examiner
from camserve.evaluation.mosaics import Mosaics, pool_of
from camserve.images.reading import Photo
from camserve.model import Model
from camserve.render.regions import sampling

Row = dict[str, Any]


class Examined:
    """Adds metrics to the rows of an image; any number of threads may call it. out: the folder with the run's plan."""

    def __init__(self, model: Model, options: Options, objects: Objects | None, out: Path) -> None:
        self._options, self._objects = options, objects
        asks = {METRICS[name].asks for name in options.metrics}
        plan = read_plan(out) if Asks.IMAGES in asks else None
        labelled = plan.items() if plan is not None and plan.labelled else ()
        mosaics = Mosaics(model, pool_of(labelled), partial(open_item, model)) if labelled else None
        self._examiner = Examiner(model, options.metrics, mosaics)

    def __call__(self, item: Item, photo: Photo, made: Sequence[Made], rows: list[Row]) -> Row:
        """Write `metrics` and `seconds` into the rows that are measured; return more fields for the image's row."""
        main = [(one, row) for one, row in zip(made, rows, strict=True) if _is_main(item, made, one)]
        explained = [(self._options.by(one.method), one.explanation) for one, _ in main]
        step, shape = sampling(photo.size)
        inside = None if self._objects is None else self._objects.inside(item, photo.size, shape, step)
        found, baselines = self._examiner.image(item, photo, explained, inside)
        for measured, (one, row) in zip(found, main, strict=True):
            row.update(metrics=measured, seconds=one.seconds)
        return {"baselines": baselines}


def _is_main(item: Item, made: Sequence[Made], one: Made) -> bool:
    """Whether `one` is the explanation of its method that is measured.

    That is the explanation of the class that the image shows, else the method's first one.
    """
    own = [other for other in made if other.method == one.method]
    shown = [other for other in own if item.expected is not None and _is_of(other, int(item.expected))]
    return one is (shown or own)[0]


def _is_of(made: Made, index: int) -> bool:
    return made.explanation.target.is_class and made.explanation.class_index == index
