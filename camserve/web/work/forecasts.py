"""What methods take on photographs of a size, and which do not go with a model: found out once, then remembered."""

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

# Sizes and layers of which the seconds are remembered; a service sees few.
_KEPT = 64
# Seconds for which they are: how busy the machine is changes.
_FRESH = 60.0
# Of runs: what takes fewer is begun without a look at the clock.
_MANY = 30
_OF_JOBS = "job_seconds"


class _Within:
    """A pool whose tasks, all together, have so many seconds; None: no end."""

    def __init__(self, pool: "Pool", seconds: float | None) -> None:
        self._pool, self._until = pool, None if seconds is None else time.monotonic() + seconds

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        return self._pool.run(task, left if deadline is None else deadline)


class Forecasts:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[tuple[object, ...], tuple[float, dict[str, float]]] = OrderedDict()
        self._reasons: WeakKeyDictionary[Model, dict[str, str]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def seconds(
        self, model: "Model", photo: "Photo", options: "ExplainOptions", run: "Run", *, afresh: bool = False
    ) -> dict[str, float]:
        """About how many seconds each method takes on a photograph of that size. Raises OptionError, DeadlinePassed.

        afresh: measured now, not remembered.
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
        """Why methods do not go with the model, by name."""
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
        """Raises TooLong where the method cannot end within the deadline of `run`.

        several: classes or images. limit: the setting of `serve` that the deadline comes from.
        """
        method = METHODS.get(options.method or model.settings.explain.method)
        if run.deadline is None or method is None or not runs_often(model, options, _MANY):
            return
        takes = self.seconds(model, photo, options, run)[method.name] * several
        if takes > run.deadline:  # the machine may be less busy by now
            takes = self.seconds(model, photo, options, run, afresh=True)[method.name] * several
        if takes > run.deadline:
            serve = model.settings.serve
            allowed = getattr(serve, limit)
            longer = ", or ask for a job (/api/v1/jobs)" if limit != _OF_JOBS and takes < serve.job_limit else ""
            raise TooLong(
                f"{method.title} takes about {takes:.0f} s {_on(several)}, and {allowed:g} s are allowed "
                f"(serve.{limit}); it was not begun. Try a smaller size or a quicker method, such as gradcam{longer}"
            )


def _on(several: int) -> str:
    return "on this image" if several == 1 else f"for {several} images like this one, or classes of it,"
