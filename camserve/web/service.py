"""What one process of the service owns: the gate, the worker pools, and the models, which requests share."""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from flask import current_app

from camserve.config.schema import Settings
from camserve.errors import ImageTooLarge, OptionError, Unavailable
from camserve.images.arrays.drafts import Smaller
from camserve.images.bands import read_bands
from camserve.images.reading import Photo, Source, read_photo
from camserve.system.timing import TimedPool
from camserve.web.model_store import BROKEN, LOADING, Shelf
from camserve.web.request_options import Options
from camserve.web.request_record import Record
from camserve.web.work.admission import Gate
from camserve.web.work.forecasts import Forecasts
from camserve.web.work.job_store import Jobs
from camserve.web.work.pricing import Demand, check_drawn, is_costly
from camserve.web.work.result_cache import Memory
from camserve.web.work.worker_pools import Pools

if TYPE_CHECKING:
    from camserve.catalogue.targets import Above, Best
    from camserve.explain.run import Run
    from camserve.explanation.attribution import Attribution
    from camserve.explanation.explanation import Explanation
    from camserve.model import Model

log = logging.getLogger(__name__)

R = TypeVar("R")

EXTENSION = "camserve"
# The version of every model. A changed model gets a new name instead.
VERSION = "1"
# The name of the form's file with which an image is compared.
LIKE = "like"
_BOTH = f"target and the file '{LIKE}' both say what to explain: give only one of them"


@dataclass(frozen=True)
class Found:
    """A kept explanation, and that of the image it is compared with, both without pixels."""

    attribution: "Attribution"
    other: "Attribution | None" = None

    @property
    def nbytes(self) -> int:
        """The size of the arrays in bytes."""
        return self.attribution.nbytes + (0 if self.other is None else self.other.nbytes)


class Service:
    """The models that requests may name, and the pools that run them. Nothing is loaded before `load`.

    settings: defaults and limits of every request. gate: admits requests. shelf: the models. memory: the cache of
    results. forecasts: the estimated times of methods. jobs: work that continues after its request.
    Raises ModelNotFound and ConfigError, like `Shelf`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shelf = Shelf(settings)
        self.gate = Gate(settings)
        self.memory = Memory(int(settings.serve.memory_megabytes * 2**20))
        self.forecasts = Forecasts()
        self.jobs = Jobs(settings.serve)
        self._pools: Pools | None = None
        self._state = "loading"

    def load(self) -> None:
        """Make the pools, and load the models of `serve.preload` and the default model.

        Raises ModelError, ModelNotFound.
        """
        self._pools = Pools.made(self.gate, self.settings)
        for name in self.shelf.at_start:
            self.warm(name)
        if self._state == "loading":
            self._state = "ready"

    def open(self) -> None:
        """Make the pools and accept requests, before any model is loaded."""
        self._pools = Pools.made(self.gate, self.settings)
        self._state = "ready"

    def warm(self, name: str) -> None:
        """Load one model without a time limit, and explain once. Raises ModelError, ModelNotFound, OptionError."""
        from camserve.explain.pipeline import explain, plain_photo
        from camserve.explain.run import Run

        model = self._loaded(name, threading.TIMEOUT_MAX)
        explain(model, plain_photo(model, 0), run=Run(workers=cast(Pools, self._pools).usual))

    def load_in_background(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Call `load` on a new thread. on_failure: called if it fails, after the reason is logged."""

        def run() -> None:
            try:
                self.load()
                # A full garbage collection visits all objects of torch: it would stop every thread for 0.2 s.
                gc.freeze()
            except Exception:
                if self._state == "draining":  # Python accepts no new tasks while it exits
                    return
                self._state = "broken"
                log.exception("the models could not be loaded; the service stays unready")
                on_failure()

        threading.Thread(target=run, name="camserve-loader").start()

    def idle_seconds(self) -> float:
        """Seconds since the last request or job."""
        return 0.0 if self.jobs.active else self.gate.idle_seconds()

    def rest(self) -> None:
        """Free memory that only makes requests faster. Called while the service is idle."""
        for model in self.shelf.loaded():
            model.forget_sizes()

    def drain(self) -> None:
        """Report "not ready" from now on. Accepted requests are answered; jobs end, because nobody could fetch them."""
        self._state = "draining"
        self.jobs.stop()

    def close(self) -> None:
        """Finish accepted requests, and accept no new ones."""
        self.drain()
        if self._pools is not None:
            self._pools.close()

    def check_ready(self) -> None:
        """Raise Unavailable, with the reason, if the service is not ready for requests or is stuck."""
        is_stuck = self._state == "ready" and self._pools is not None and self._pools.is_stuck
        if is_stuck or self._state != "ready":
            raise Unavailable(_REASONS["stuck" if is_stuck else self._state].format(self.shelf.default))

    @property
    def pools(self) -> Pools:
        """The threads that run the models. Raises Unavailable before the default model is loaded."""
        if self._pools is None or self._state in ("loading", "broken"):
            self.check_ready()
        return cast(Pools, self._pools)

    def answered(self, now: Record, request: Demand, work: Callable[[float], R]) -> R:
        """Wait for the turn of a request, and return `work(until)`. until: time.monotonic() when the answer is due.

        A costly request runs on a thread of the costly lane from decoding to encoding, so that steps that cannot be
        interrupted do not block other requests. Raises TooMuch, Busy, ClientGone, DeadlinePassed, and the errors of
        `work`.
        """
        check_drawn(request, self.settings.limits.megapixels)
        asked, due = request.options, None
        if (model := self._ready(asked.model, asked.output)) is None:
            with self.gate.loading() as due:
                model = self.model(asked.model, due, asked.output)
        model.check_stride(asked.question().output_stride)
        if not is_costly(model, request):
            with self.gate.turn(now, until=due) as until:
                return work(until)
        now.facts["costly"] = True
        with self.gate.turn(now, costly=True, until=due) as until:
            run = partial(copy_context().run, work, until)
            return self.pools.costly.run(run, until - time.monotonic())

    def _ready(self, name: str | None, output: str | int | None) -> "Model | None":
        """The model with this output, if it is in memory; otherwise None. Raises ModelNotFound."""
        name = name or self.shelf.default
        if (model := self.shelf.ready(name)) is None:
            self.shelf.card(name)
            return None
        return model.ready_output(output)

    def model(self, name: str | None = None, until: float | None = None, output: str | int | None = None) -> "Model":
        """The model of a name, default the default model. It is loaded at its first use.

        until: time.monotonic() when waiting ends. output: which output of the network. Raises ModelNotFound,
        ModelError, OptionError, UnknownName, Unavailable, DeadlinePassed.
        """
        pools = self.pools  # raises Unavailable if there are no pools yet
        until = until or time.monotonic() + self.settings.serve.deadline_seconds
        model = self._loaded(name or self.shelf.default, until - time.monotonic())
        return model.of_output(output, pools.loading, max(0, until - time.monotonic()))

    def loaded(self, name: str | None, output: str | int | None = None) -> "Model":
        """Like `model`, but few requests may wait for a model that is not in memory. Raises Busy, too."""
        if (ready := self._ready(name, output)) is not None:
            return ready
        with self.gate.loading() as until:
            return self.model(name, until, output)

    def check_model(self, name: str) -> None:
        """Raise ModelNotFound, or Unavailable if the model cannot answer requests now."""
        state = self.shelf.state(name)
        self.check_ready()
        if state in _UNREADY:
            raise Unavailable(_UNREADY[state].format(name))

    def explain(
        self,
        image: Source,
        options: Options,
        now: Record,
        until: float,
        several: int = 1,
        like: Source | None = None,
        *,
        seen: bool = True,
    ) -> "Explanation":
        """Read one image and explain it on the pool, or use the cached result. Call this inside `answered`.

        until: time.monotonic() when the answer is due. several: the number of images to explain until then. like: an
        image to compare with, instead of a target. seen: whether an overlay may be requested.
        Raises OptionError, TooLong, ModelNotFound, ImageError, BodyTooLarge, Unavailable, DeadlinePassed.
        """
        from camserve.explain.drafting import drafting
        from camserve.explain.pipeline import explain
        from camserve.explanation.explanation import Explanation

        model = self.model(options.model, until, options.output)
        how, target = options.question(), options.target
        photo = self._read(model, image, now, None if seen or like is not None else drafting(model, how))
        key = (how, target) if photo.whole is None else (how, target, photo.drafted)
        if like is not None and target is not None:
            raise OptionError(_BOTH)
        other = None if like is None else self._read(model, like, now)
        known = self.memory.attribution(model, photo, key) if other is None else None
        if known is None:
            count = several if other is None else 2
            self.forecasts.check(model, photo, how, self._pool(now, until), count, now.limit)
            found = explain(model, photo, target if other is None else other, how, self._pool(now, until))
            if other is None:
                self.memory.keep(model, photo, key, found.attribution)
        else:
            found = Explanation.of(known, photo, model.settings.render)
        now.facts |= {"model": model.name, "explained_by": found.method}
        return found

    def shown(
        self, image: Source, options: Options, now: Record, until: float, found: Found, like: Source | None = None
    ) -> "Explanation":
        """An earlier result of `explain`, with its image read again. Raises the errors of `explain` except TooLong."""
        from camserve.explanation.explanation import Explanation

        model = self.model(options.model, until, options.output)
        made = Explanation.of(found.attribution, self._read(model, image, now), model.settings.render)
        if found.other is not None and like is not None:
            other = Explanation.of(found.other, self._read(model, like, now), model.settings.render)
            made = replace(made, other=other)
        now.facts |= {"model": model.name, "explained_by": made.method}
        return made

    def check(self, image: Source, options: Options, now: Record, until: float, like: Source | None = None) -> None:
        """Read the images for `explain`, and raise its errors about images and model."""
        model = self.model(options.model, until, options.output)
        if like is not None and options.target is not None:
            raise OptionError(_BOTH)
        for one in (image, like):
            if one is not None:
                self._read(model, one, now)

    def explain_classes(
        self, image: Source, targets: "Best | Above | list[str]", options: Options, now: Record, until: float
    ) -> "list[Explanation]":
        """Explain several classes from one forward pass. Raises the errors of `explain`."""
        from camserve.explain.pipeline import explain_classes

        model = self.model(options.model, until, options.output)
        how = options.question()
        wanted = targets if isinstance(targets, list) else targets.among(how.labels or model.labels)
        photo = self._read(model, image, now)
        count = len(wanted) if isinstance(wanted, list) else wanted
        if not isinstance(count, int):
            count = 1  # the number is known only after the network has run
        self.forecasts.check(model, photo, how, self._pool(now, until), count)
        found = explain_classes(model, photo, wanted, how, self._pool(now, until))
        now.facts |= {"model": model.name, "explained_by": found[0].method}
        return found

    def forecast(
        self, image: Source, options: Options, now: Record, until: float
    ) -> tuple[dict[str, float], dict[str, str]]:
        """The estimated seconds of each method on one image, and the reasons why some cannot explain the model.

        Only the options model, output, layer, size and output_stride count. Raises the errors of `explain`.
        """
        model = self.model(options.model, until, options.output)
        photo, run = self._read(model, image, now), self._pool(now, until)
        now.facts |= {"model": model.name}
        return self.forecasts.seconds(model, photo, options.question(), run), self.forecasts.reasons(model, run)

    def _read(self, model: "Model", image: Source, now: Record, smaller: Smaller | None = None) -> Photo:
        limits, bands = self.settings.limits, model.card.input.of_bands
        plain = partial(read_photo, icc=self.settings.images.to_srgb, smaller=smaller)
        read = plain if bands is None else partial(read_bands, bands=bands)
        with now.timing("decode"):
            photo = read(image, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, max_side=limits.side)
        together = now.facts["megapixels"] = now.facts.get("megapixels", 0) + math.prod(photo.size) / 1e6
        if together > limits.megapixels:
            raise ImageTooLarge(
                f"the images of this request have at least {together:.4g} megapixels together; allowed are "
                f"{limits.megapixels:g} (limits.megapixels). Try fewer at once."
            )
        return photo

    def _pool(self, now: Record, until: float) -> "Run":
        """The Run of a request: its pool, deadline, progress and cache of forward passes."""
        from camserve.explain.run import Run, observed

        return Run(
            TimedPool(self.pools.usual, now.timing),
            deadline=max(0, until - time.monotonic()),
            progress=now.check_client,
            forward=partial(self.memory.forward, run=partial(observed, timing=now.timing)),
        )

    def _loaded(self, name: str, seconds: float) -> "Model":
        from camserve.model import load

        def submit(card: Path) -> "Future[Model]":
            return cast(Pools, self._pools).loading.submit(load, card, settings=self.settings)

        return self.shelf.get(name, seconds, submit)


_UNREADY = {
    LOADING: "the model '{}' is still being loaded; try again in a moment",
    BROKEN: "the model '{}' cannot be loaded; the service's log says why",
}

_REASONS = {
    "loading": "the model '{}' is still being loaded; try again in a moment",
    "broken": "the model '{}' could not be loaded; the service's log says why",
    "draining": "camserve is shutting down",
    "stuck": "every worker is busy with an abandoned request that does not end; no request can be answered",
}


def service() -> Service:
    """The service of the application that handles the current request."""
    return cast(Service, current_app.extensions[EXTENSION])
