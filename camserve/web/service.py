"""What one process of the service owns: the pool of workers and the models, loaded once and shared."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import current_app
from PIL import Image

from camserve.cards import card_path, find_cards
from camserve.config import Settings
from camserve.errors import DeadlinePassed, ModelNotFound, Unavailable
from camserve.images import Source, read_photo
from camserve.web.options import Options
from camserve.web.timing import Timing

if TYPE_CHECKING:
    from camserve.explanation import Explanation
    from camserve.models import Model
    from camserve.workers import Workers

log = logging.getLogger(__name__)

EXTENSION = "camserve"


class Service:
    """The models that requests may name, and the pool that runs them. Nothing is loaded before `load`.

    settings: the defaults and limits of every request. default: the model used when none is named.
    Raises ModelNotFound where there is no card for `settings.explain.model`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._default_card = card_path(settings.explain.model, settings.models)
        self.default = self._default_card.parent.name
        self._workers: Workers | None = None
        self._models: dict[str, Future[Model]] = {}
        self._lock = threading.Lock()
        self._state = "loading"

    def load(self) -> None:
        """Make the pool, load the default model, explain once: now all is ready. Raises ModelError."""
        from camserve.explain import explain
        from camserve.workers import Workers, granted_cores

        count = self.settings.compute.workers or granted_cores()
        queue = self.settings.serve.queue or 2 * count + 16
        self._workers = Workers(count, self.settings.compute.threads, queue)
        model = self._loading(self.default, self._default_card).result()
        explain(model, Image.new("RGB", (64, 64)), workers=self._workers)
        if self._state == "loading":
            self._state = "ready"

    def load_in_background(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """`load` on a thread of its own. on_failure: called, after the reason was logged, where it raises."""

        def run() -> None:
            try:
                self.load()
            except Exception:
                self._state = "broken"
                log.exception("the model '%s' could not be loaded; the service stays unready", self.default)
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
            raise Unavailable(_REASONS[self._state].format(self.default))

    @property
    def workers(self) -> "Workers":
        """The pool. Raises Unavailable before the default model is loaded."""
        if self._workers is None or self._state in ("loading", "broken"):
            self.check_ready()
        return cast("Workers", self._workers)

    def cards(self) -> dict[str, Path]:
        """{name: card.toml} of every model that a request may name, the default first."""
        found = find_cards(self.settings.models)
        return {self.default: self._default_card, **{n: p for n, p in found.items() if n != self.default}}

    def is_loaded(self, name: str) -> bool:
        """Whether requests for that model are answered without loading it first."""
        future = self._models.get(name)
        return future is not None and future.done() and not _failed(future)

    def model(self, name: str | None = None) -> "Model":
        """The model of that name, default the service's own, loaded at its first use.

        Only names of cards count: a path would let a request read the disk. Raises ModelNotFound, ModelError,
        Unavailable, Busy, DeadlinePassed.
        """
        self.workers  # noqa: B018 - raises while there is no pool to load on
        name, cards = name or self.default, self.cards()
        if name not in cards:
            raise ModelNotFound(name, cards)
        seconds = self.settings.serve.deadline_seconds
        try:
            return self._loading(name, cards[name]).result(seconds)
        except FutureTimeout:
            raise DeadlinePassed(f"'{name}' is not loaded after {seconds:g} s (serve.deadline_seconds)") from None
        except CancelledError:
            raise Unavailable(_REASONS["draining"]) from None

    def explain(self, image: Source, options: Options, timing: Timing) -> "Explanation":
        """Read one image and explain it on the pool, within the limits and the deadline of the settings.

        Raises OptionError, ModelNotFound, ImageError, BodyTooLarge, Unavailable, Busy, DeadlinePassed.
        """
        workers, limits = self.workers, self.settings.limits
        model = self.model(options.model)
        from camserve.explain import explain

        with timing("decode"):
            photo = read_photo(image, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, max_side=limits.side)
        with timing("explain"):
            return explain(
                model,
                photo,
                method=options.method,
                target=options.target,
                quantity=options.quantity,
                layer=options.layer,
                size=options.size,
                output_stride=options.output_stride,
                sharp=options.sharp,
                workers=workers,
                deadline=self.settings.serve.deadline_seconds,
            )

    def _loading(self, name: str, card: Path) -> "Future[Model]":
        """The one loading of a model, however many requests wait for it; a failed one is tried afresh."""
        from camserve.loading import load

        with self._lock:
            future = self._models.get(name)
            if future is None or _failed(future):
                pool = cast("Workers", self._workers)
                future = self._models[name] = pool.submit(load, card, settings=self.settings)
            return future


def _failed(future: "Future[Model]") -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


_REASONS = {
    "loading": "the model '{}' is still being loaded; try again in a moment",
    "broken": "the model '{}' could not be loaded; the service's log says why",
    "draining": "camserve is shutting down",
}


def service() -> Service:
    """The service of the application that handles the current request."""
    return cast(Service, current_app.extensions[EXTENSION])
