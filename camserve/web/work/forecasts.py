"""Estimated times of methods by size of photograph, and methods that cannot explain a model. Both are cached."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from camserve.catalogue.methods import METHODS
from camserve.errors import TooLong
from camserve.web.work.pricing import runs_often

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions
    from camserve.explain.run import Run
    from camserve.images.reading import Photo
    from camserve.model import Model
    from camserve.system.workers import Pool

R = TypeVar("R")

# Most cached estimates: a service sees few sizes and layers.
_KEPT = 64
# Seconds for which an estimate is valid, because the load of the machine changes.
_FRESH = 60.0
# Methods with fewer runs of the network start without an estimate.
_MANY = 30
_OF_JOBS = "job_seconds"


class _Within:
    """A pool whose tasks have `seconds` in total; None: no limit."""

    def __init__(self, pool: "Pool", seconds: float | None) -> None:
        self._pool, self._until = pool, None if seconds is None else time.monotonic() + seconds

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        return self._pool.run(task, left if deadline is None else deadline)


class Forecasts:
    """Estimates and reasons for all models. Safe to share between threads."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[tuple[object, ...], tuple[float, dict[str, float]]] = OrderedDict()
        self._reasons: WeakKeyDictionary[Model, dict[str, str]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def seconds(
        self, model: "Model", photo: "Photo", options: "ExplainOptions", run: "Run", *, afresh: bool = False
    ) -> dict[str, float]:
        """The estimated seconds of each method on a photograph of this size. Raises OptionError, DeadlinePassed.

        afresh: measure now, and do not use the cache.
        """
        from camserve.explain.estimate import estimate

        key = id(model), model.name, photo.size, options.size, options.layer, options.output_stride
        with self._lock:
            measured, found = self._seconds.get(key, (-math.inf, {}))
        if afresh or time.monotonic() - measured > _FRESH:
            pool = run.workers or model.workers
            found = estimate(model, photo, options, replace(run, workers=_Within(pool, run.deadline)))
            with self._lock:
                self._seconds[key] = time.monotonic(), found
                while len(self._seconds) > _KEPT:
                    self._seconds.popitem(last=False)
        return found

    def reasons(self, model: "Model", run: "Run") -> dict[str, str]:
        """The reasons why methods cannot explain the model, by name."""
        from camserve.explain.suitability import unsuitable

        with self._lock:
            known = self._reasons.get(model)
        if known is None:
            workers = run.workers or model.workers
            known = workers.run(lambda: unsuitable(model), run.deadline)
            with self._lock:
                self._reasons[model] = known
        return known

    def check(
        self,
        model: "Model",
        photo: "Photo",
        options: "ExplainOptions",
        run: "Run",
        several: int = 1,
        limit: str = "deadline_seconds",
    ) -> None:
        """Raise TooLong if the method cannot finish within the deadline of `run`.

        several: number of classes or images. limit: the setting of `serve` that defines the deadline.
        """
        method = METHODS.get(options.method or model.settings.explain.method)
        if run.deadline is None or method is None or not runs_often(model, options, _MANY):
            return
        takes = self.seconds(model, photo, options, run)[method.name] * several
        if takes > run.deadline:  # the machine may be less busy now
            takes = self.seconds(model, photo, options, run, afresh=True)[method.name] * several
        if takes > run.deadline:
            serve = model.settings.serve
            allowed = getattr(serve, limit)
            longer = ", or ask for a job (/api/v1/jobs)" if limit != _OF_JOBS and takes < serve.job_limit else ""
            raise TooLong(
                f"{method.title} takes about {takes:.0f} s {_on(several)}, and {allowed:g} s are allowed "
                f"(serve.{limit}); it was not started. Try a smaller size or a faster method, such as gradcam{longer}"
            )


def _on(several: int) -> str:
    return "on this image" if several == 1 else f"for {several} such images or classes"
