"""The models of the service in memory: which there are, which are loaded, and which has to go for another."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING

from camserve.config.schema import Settings
from camserve.errors import ConfigError, DeadlinePassed, ModelNotFound, Unavailable, UnknownName
from camserve.models.card import Seen, card_path, find_cards, look_at

if TYPE_CHECKING:
    from camserve.model import Model

UNLOADED, LOADING, READY, BROKEN = "unloaded", "loading", "ready", "broken"

# How a model is loaded on the pool: (task, card) -> future
Submit = Callable[[Path], "Future[Model]"]


class Shelf:
    """Models by name, each loaded at its first use, once however many requests wait for it.

    At most `serve.models` are kept: the least recently used one goes, never the default. What is being explained with
    it still ends well. at_start: {name: card.toml} of what is loaded before the first request, the default last.
    Raises ModelNotFound where there is no card for `explain.model`, ConfigError where `serve.preload` asks for what
    there is not, or for more than are kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._default_card = card_path(settings.explain.model, settings.models)
        self.default = self._default_card.parent.name
        self._loads: OrderedDict[str, Future[Model]] = OrderedDict()
        self._lock = threading.Lock()
        self.at_start = self._at_start()

    @property
    def count(self) -> int:
        """How many are in memory."""
        return len(self.loaded())

    def loaded(self) -> "list[Model]":
        """Those that are in memory."""
        return [load.result() for load in list(self._loads.values()) if load.done() and not _failed(load)]

    def cards(self) -> dict[str, Path]:
        """{name: card.toml} of every model that a request may name, the default first."""
        found = find_cards(self._settings.models)
        return {self.default: self._default_card, **{n: p for n, p in found.items() if n != self.default}}

    def card(self, name: str) -> Path:
        """The card of that name. Only names count: a path would let a request read the disk. Raises ModelNotFound."""
        cards = self.cards()
        if name not in cards:
            raise ModelNotFound(name, cards)
        return cards[name]

    def state(self, name: str) -> str:
        """UNLOADED, LOADING, READY or BROKEN: files are missing, or loading failed. Raises ModelNotFound."""
        path = self.card(name)
        return self._state(name, lambda: look_at(path, self._settings.models).available)

    def ready(self, name: str) -> "Model | None":
        """A model that is in memory, as the one used last; without a look at the disk, as every request asks this."""
        with self._lock:
            load = self._loads.get(name)
            if load is None or not load.done() or _failed(load):
                return None
            self._loads.move_to_end(name)
            return load.result()

    def listed(self) -> dict[str, tuple[str, Seen]]:
        """By name the state of every model, and what a list says of its card, without where on the disk it is."""
        return {name: self._listed(name, path) for name, path in self.cards().items()}

    def _listed(self, name: str, path: Path) -> tuple[str, Seen]:
        seen = look_at(path, self._settings.models)
        state = self._state(name, lambda: seen.available)
        if seen.error is not None:
            return state, seen._replace(error=seen.error.replace(f"{path.parent.parent}{os.sep}", ""))
        if state == BROKEN and seen.available:
            return state, seen._replace(error="it could not be loaded; the log of the service says why")
        return state, seen

    def _state(self, name: str, is_available: Callable[[], bool]) -> str:
        load = self._loads.get(name)
        if load is None:
            return UNLOADED if is_available() else BROKEN
        if not load.done():
            return LOADING
        return BROKEN if _failed(load) else READY

    def get(self, name: str, seconds: float, submit: Submit) -> "Model":
        """The model of that name, loaded by `submit` where it is not. A failed loading is tried afresh.

        seconds: how long to wait. Raises ModelNotFound, ModelError, Unavailable, DeadlinePassed.
        """
        load = self._load(name, submit)
        try:
            return load.result(max(0, seconds))
        except FutureTimeout:
            raise DeadlinePassed(f"'{name}' is not loaded yet") from None
        except CancelledError:
            raise Unavailable("camserve is shutting down") from None

    def _at_start(self) -> dict[str, Path]:
        cards, serve = self.cards(), self._settings.serve
        unknown = [name for name in serve.preload if name not in cards]
        if unknown:
            raise ConfigError(f"bad setting serve.preload: {UnknownName('model', unknown[0], cards)}")
        names = [*(name for name in dict.fromkeys(serve.preload) if name != self.default), self.default]
        if len(names) > serve.models:
            raise ConfigError(
                f"bad setting serve.preload: {len(names)} models, the default one counted, but serve.models keeps "
                f"{serve.models} in memory; raise that, or preload fewer"
            )
        return {name: cards[name] for name in names}

    def _load(self, name: str, submit: Submit) -> "Future[Model]":
        with self._lock:
            load = self._loads.get(name)
            if load is None or _failed(load):
                load = self._loads[name] = submit(self.card(name))
            self._loads.move_to_end(name)
            self._make_room()
            return load

    def _make_room(self) -> None:
        for name, load in list(self._loads.items()):
            if len(self._loads) <= self._settings.serve.models:
                return
            if name != self.default and load.done():
                del self._loads[name]


def _failed(load: "Future[Model]") -> bool:
    return load.done() and (load.cancelled() or load.exception() is not None)
