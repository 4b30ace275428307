"""What one process of the service owns: the gate, the pool of workers and the models, loaded once and shared."""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import current_app

from camserve.config.schema import Settings
from camserve.errors import ImageTooLarge, Unavailable
from camserve.images.bands import read_bands
from camserve.images.reading import Photo, Source, read_photo
from camserve.system.timing import TimedPool
from camserve.web.admission import Gate
from camserve.web.forecasts import Forecasts
from camserve.web.model_store import BROKEN, LOADING, Shelf
from camserve.web.request_options import Options
from camserve.web.request_record import Record
from camserve.web.result_cache import Memory

if TYPE_CHECKING:
    from camserve.catalogue.targets import Best
    from camserve.explain.run import Run
    from camserve.explanation.explanation import Explanation
    from camserve.model import Model
    from camserve.system.workers import Workers

log = logging.getLogger(__name__)

EXTENSION = "camserve"
# Of every model: another one has another name.
VERSION = "1"


class Service:
    """The models that requests may name, and the pool that runs them. Nothing is loaded before `load`.

    settings: the defaults and limits of every request. gate: the way in. shelf: the models. memory: what was computed.
    forecasts: what methods take.
    Raises ModelNotFound, ConfigError, as `Shelf`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shelf = Shelf(settings)
        self.gate = Gate(settings)
        self.memory = Memory(int(settings.serve.memory_megabytes * 2**20))
        self.forecasts = Forecasts()
        self._workers: Workers | None = None
        self._state = "loading"

    def load(self) -> None:
        """Make the pool, warm what `serve.preload` names and the default model: now all is ready.

        Raises ModelError, ModelNotFound.
        """
        self._make_pool()
        for name in self.shelf.at_start:
            self.warm(name)
        if self._state == "loading":
            self._state = "ready"

    def open(self) -> None:
        """Make the pool and take requests, with no model loaded yet."""
        self._make_pool()
        self._state = "ready"

    def warm(self, name: str) -> None:
        """Load one model, however long that takes, and explain once. Raises ModelError, ModelNotFound, OptionError."""
        from camserve.explain.pipeline import explain, plain_photo
        from camserve.explain.run import Run

        model = self._loaded(name, threading.TIMEOUT_MAX)
        explain(model, plain_photo(model, 0), run=Run(workers=self._workers))

    def load_in_background(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """`load` on a thread of its own. on_failure: called, after the reason was logged, where it raises."""

        def run() -> None:
            try:
                self.load()
                # A full collection walks all objects of torch: it would stop every thread for 0.2 s, health checks too.
                gc.freeze()
            except Exception:
                if self._state == "draining":  # Python takes no new tasks at its end
                    return
                self._state = "broken"
                log.exception("the models could not be loaded; the service stays unready")
                on_failure()

        threading.Thread(target=run, name="camserve-loader").start()

    def drain(self) -> None:
        """Say "not ready" from now on; what is accepted is still answered."""
        self._state = "draining"

    def close(self) -> None:
        """Finish what was accepted, take nothing new."""
        self.drain()
        if self._workers is not None:
            self._workers.close()

    def check_ready(self) -> None:
        """Raises Unavailable, saying why, where the service is not ready for new work."""
        if self._state != "ready":
            raise Unavailable(_REASONS[self._state].format(self.shelf.default))

    @property
    def workers(self) -> "Workers":
        """The pool. Raises Unavailable before the default model is loaded."""
        if self._workers is None or self._state in ("loading", "broken"):
            self.check_ready()
        return cast("Workers", self._workers)

    def model(self, name: str | None = None, until: float | None = None, output: str | int | None = None) -> "Model":
        """The model of that name, default the service's own, loaded at its first use.

        until: time.monotonic() when waiting ends. output: which of the network's. Raises ModelNotFound, ModelError,
        OptionError, UnknownName, Unavailable, DeadlinePassed.
        """
        pool = self.workers  # raises while there is no pool to load on
        until = until or time.monotonic() + self.settings.serve.deadline_seconds
        model = self._loaded(name or self.shelf.default, until - time.monotonic())
        return model.of_output(output, pool, max(0, until - time.monotonic()))

    def check_model(self, name: str) -> None:
        """Raises ModelNotFound, and Unavailable where requests for that model are not answered now."""
        state = self.shelf.state(name)
        self.check_ready()
        if state in _UNREADY:
            raise Unavailable(_UNREADY[state].format(name))

    def explain(self, image: Source, options: Options, now: Record, until: float) -> "Explanation":
        """Read one image and explain it on the pool, or remember how it was. To be called at `gate.turn`.

        until: time.monotonic() when the answer is due.
        Raises OptionError, TooLong, ModelNotFound, ImageError, BodyTooLarge, Unavailable, DeadlinePassed.
        """
        from camserve.explain.pipeline import explain
        from camserve.explanation.explanation import Explanation

        model = self.model(options.model, until, options.output)
        photo = self._read(model, image, now)
        key = how, target = options.question(), options.target
        known = self.memory.attribution(model, photo, key)
        if known is None:
            self.forecasts.check(model, photo, how, self._pool(now, until))
            found = explain(model, photo, target, how, self._pool(now, until))
            self.memory.keep(model, photo, key, found.attribution)
        else:
            found = Explanation.of(known, photo, model.settings.render)
        now.facts |= {"model": model.name, "explained_by": found.method}
        return found

    def explain_classes(
        self, image: Source, targets: "Best | list[str]", options: Options, now: Record, until: float
    ) -> "list[Explanation]":
        """The same for several classes, from one forward pass. Raises as `explain`."""
        from camserve.explain.pipeline import explain_classes

        model = self.model(options.model, until, options.output)
        wanted = targets if isinstance(targets, list) else targets.among(model.labels)
        photo = self._read(model, image, now)
        how, count = options.question(), wanted if isinstance(wanted, int) else len(wanted)
        self.forecasts.check(model, photo, how, self._pool(now, until), count)
        found = explain_classes(model, photo, wanted, how, self._pool(now, until))
        now.facts |= {"model": model.name, "explained_by": found[0].method}
        return found

    def forecast(
        self, image: Source, options: Options, now: Record, until: float
    ) -> tuple[dict[str, float], dict[str, str]]:
        """About how many seconds each method takes on one image, and why some do not go with the model.

        Of the options model, output, layer, size and output_stride count. Raises as `explain`.
        """
        model = self.model(options.model, until, options.output)
        photo, run = self._read(model, image, now), self._pool(now, until)
        now.facts |= {"model": model.name}
        return self.forecasts.seconds(model, photo, options.question(), run), self.forecasts.reasons(model, run)

    def _read(self, model: "Model", image: Source, now: Record) -> Photo:
        limits, bands = self.settings.limits, model.card.input.of_bands
        read = (
            partial(read_photo, icc=self.settings.images.to_srgb) if bands is None else partial(read_bands, bands=bands)
        )
        with now.timing("decode"):
            photo = read(image, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, max_side=limits.side)
        together = now.facts["megapixels"] = now.facts.get("megapixels", 0) + math.prod(photo.size) / 1e6
        if together > limits.megapixels:
            raise ImageTooLarge(
                f"the images of this request have {together:.4g} megapixels together and more; allowed are "
                f"{limits.megapixels:g} (limits.megapixels). Try fewer at once."
            )
        return photo

    def _pool(self, now: Record, until: float) -> "Run":
        """Where and how long to compute, for whom, and what remembers forwards."""
        from camserve.explain.run import Run, observed

        return Run(
            TimedPool(self.workers, now.timing),
            deadline=max(0, until - time.monotonic()),
            progress=now.check_client,
            forward=partial(self.memory.forward, run=partial(observed, timing=now.timing)),
        )

    def _make_pool(self) -> None:
        from camserve.system.workers import Workers

        self._workers = Workers(self.gate.workers, self.settings.compute.threads)

    def _loaded(self, name: str, seconds: float) -> "Model":
        from camserve.model import load

        def submit(card: Path) -> "Future[Model]":
            return cast("Workers", self._workers).submit(load, card, settings=self.settings)

        return self.shelf.get(name, seconds, submit)


_UNREADY = {
    LOADING: "the model '{}' is still being loaded; try again in a moment",
    BROKEN: "the model '{}' cannot be loaded; the service's log says why",
}

_REASONS = {
    "loading": "the model '{}' is still being loaded; try again in a moment",
    "broken": "the model '{}' could not be loaded; the service's log says why",
    "draining": "camserve is shutting down",
}


def service() -> Service:
    """The service of the application that handles the current request."""
    return cast(Service, current_app.extensions[EXTENSION])
