"""Measures the metrics of one explanation, and of baselines that do not depend on the picture."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from camserve.catalogue.metric import Asks
from camserve.catalogue.metrics import METRICS, find_metric
from camserve.catalogue.options import ExplainOptions
from camserve.datasets.inputs import Item
from camserve.errors import OptionError
from camserve.evaluation.mosaics import Mosaic, Mosaics
from camserve.evaluation.standings import STEPS
from camserve.explain.pipeline import explain
from camserve.explain.questioned import subject_of
from camserve.explanation.explanation import Explanation
from camserve.images.reading import Photo
from camserve.metrics.baselines import BASELINES
from camserve.metrics.heat import Float
from camserve.metrics.measure import measure
from camserve.metrics.subject import Subject
from camserve.models.classifier import Classifier
from camserve.render.regions import sample, sampling

Inside = npt.NDArray[np.bool_]
Measured = dict[str, float | None]

# Metrics that need random weights or other classes are about a model, not about one picture.
ELSEWHERE = (Asks.WEIGHTS, Asks.CLASSES)


def check_metrics(metrics: Sequence[str], *, of_one: bool = False) -> None:
    """Raise OptionError for metrics that are about a model; of_one: also for metrics that need several images."""
    for name in metrics:
        if find_metric(name).asks in ELSEWHERE:
            raise OptionError(
                f"metric '{name}' needs other weights or classes, so it is about a model, not about a picture: run "
                "`camserve sanity MODEL`"
            )
        if of_one and find_metric(name).asks is Asks.IMAGES:
            raise OptionError(
                f"metric '{name}' needs mosaics of several labelled images: try model.compare_methods(images, "
                "classes=...) or `camserve evaluate`"
            )


class Examiner:
    """Measures explanations of images, and baselines; any thread may call it. It runs the network on a worker.

    metrics: names, see `check_metrics`. mosaics: makes pictures of several labelled images; None if no image's class is
    known.
    """

    def __init__(self, model: Classifier, metrics: Sequence[str], mosaics: Mosaics | None = None) -> None:
        self._model, self._mosaics = model, mosaics
        asked = [METRICS[name] for name in metrics]
        self._on_mosaics = [metric for metric in asked if metric.asks is Asks.IMAGES]
        self._on_images = [metric for metric in asked if metric.asks is not Asks.IMAGES]

    def image(
        self,
        item: Item,
        photo: Photo,
        made: Sequence[tuple[ExplainOptions, Explanation]],
        inside: Inside | None = None,
    ) -> tuple[list[Measured], dict[str, Measured]]:
        """Measure several explanations of one image, and each baseline; None for a metric without a value.

        made: pairs of options and explanation. inside: the mask of the object, bool, in the photograph's pixels as
        `camserve.render.regions.sample` samples them.
        """
        found = [self.one(explanation, inside) for _, explanation in made]
        baselines = self._baselines(made[0][1], inside)
        mosaic = self._mosaics.of(item, photo) if self._mosaics is not None and self._on_mosaics else None
        if mosaic is not None:
            for measured, (how, _) in zip(found, made, strict=True):
                measured |= self._in_mosaic(mosaic, how)
            for name, draw in BASELINES.items():
                baselines[name] |= self._of_mosaic(mosaic, draw(mosaic.size))
        return found, baselines

    def one(self, explanation: Explanation, inside: Inside | None = None) -> Measured:
        """Measure one explanation by the metrics that need no mosaic."""
        heat = np.nan_to_num(sample(explanation.heat_rows, explanation.size)[0])

        def on_worker() -> Measured:
            return self._measured(self._subject(explanation), heat, inside)

        return self._model.workers.run(on_worker)

    def _baselines(self, explanation: Explanation, inside: Inside | None) -> dict[str, Measured]:
        """Measure each baseline by the same metrics, in place of the explanation's map."""
        _, shape = sampling(explanation.size)

        def on_worker() -> dict[str, Measured]:
            subject = self._subject(explanation)
            return {
                name: self._measured(_drawn(subject, name), draw(shape), inside) for name, draw in BASELINES.items()
            }

        return self._model.workers.run(on_worker)

    def _subject(self, explanation: Explanation) -> Subject | None:
        if any(metric.asks is Asks.SUBJECT for metric in self._on_images):
            return replace(subject_of(self._model, explanation, explanation.photo), steps=STEPS)
        return None

    def _measured(self, subject: Subject | None, heat: Float, inside: Inside | None) -> Measured:
        return {metric.name: measure(metric, subject, heat=heat, inside=inside) for metric in self._on_images}

    def _in_mosaic(self, mosaic: Mosaic, how: ExplainOptions) -> Measured:
        """Measure the map of the mosaic's class. The mosaic keeps its pixels if the network takes any input size."""
        size = "native" if self._model.network.takes_any_size else "fit"
        found = explain(self._model, mosaic.image, mosaic.index, replace(how, size=size))
        return self._of_mosaic(mosaic, np.nan_to_num(found.heat_rows(0, found.size[1])))

    def _of_mosaic(self, mosaic: Mosaic, heat: Float) -> Measured:
        return {metric.name: measure(metric, heat=heat, inside=mosaic.inside) for metric in self._on_mosaics}


def _drawn(subject: Subject | None, name: str) -> Subject | None:
    """The subject with a baseline in place of its map."""
    if subject is None:
        return None
    height, width = subject.heat.shape
    heat = BASELINES[name]((height, width)).astype(np.float32)
    return replace(subject, heat=heat, map=heat, explain=lambda images: heat)
