"""The metrics of one explanation, and of baselines that know nothing of the picture beside it."""

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

# What is asked of changed weights or of other classes is a question about a model, not about one picture.
ELSEWHERE = (Asks.WEIGHTS, Asks.CLASSES)


def check_metrics(metrics: Sequence[str], *, of_one: bool = False) -> None:
    """Raise OptionError for those that are no question about pictures; of_one: or need more than one."""
    for name in metrics:
        if find_metric(name).asks in ELSEWHERE:
            raise OptionError(
                f"metric '{name}' asks for other weights or classes, so it is about a model, not about a picture: run "
                "`camserve sanity MODEL`"
            )
        if of_one and find_metric(name).asks is Asks.IMAGES:
            raise OptionError(
                f"metric '{name}' is of mosaics of several labelled images: try model.compare_methods(images, "
                "classes=...) or `camserve evaluate`"
            )


class Examiner:
    """Measures explanations of images, and baselines beside them; any thread may ask. Runs the network on a worker.

    metrics: names, see `check_metrics`. mosaics: what makes pictures of several labelled images; None where no image's
    class is known.
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
        """The metrics of several explanations of one image, and of each baseline, None where one has no value here.

        made: with how each was made. inside: bool, the object, in the photograph's pixels as
        `camserve.render.regions.sample` takes them.
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
        """The metrics of one explanation that ask for no mosaic."""
        heat = np.nan_to_num(sample(explanation.heat_rows, explanation.size)[0])

        def on_worker() -> Measured:
            return self._measured(self._subject(explanation), heat, inside)

        return self._model.workers.run(on_worker)

    def _baselines(self, explanation: Explanation, inside: Inside | None) -> dict[str, Measured]:
        """The same of each baseline, in the place of the explanation's map."""
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
        """Of the map of the class that one cell shows, the mosaic seen at its own pixels where the network takes it."""
        size = "native" if self._model.network.takes_any_size else "fit"
        found = explain(self._model, mosaic.image, mosaic.index, replace(how, size=size))
        return self._of_mosaic(mosaic, np.nan_to_num(found.heat_rows(0, found.size[1])))

    def _of_mosaic(self, mosaic: Mosaic, heat: Float) -> Measured:
        return {metric.name: measure(metric, heat=heat, inside=mosaic.inside) for metric in self._on_mosaics}


def _drawn(subject: Subject | None, name: str) -> Subject | None:
    """The subject with a baseline in its map's place."""
    if subject is None:
        return None
    height, width = subject.heat.shape
    heat = BASELINES[name]((height, width)).astype(np.float32)
    return replace(subject, heat=heat, map=heat, explain=lambda images: heat)
