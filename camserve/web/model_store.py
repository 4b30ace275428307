"""The models of the service: which exist, which are in memory, and which is removed to make room."""

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

# Loads the model of a card on the pool: card -> future
Submit = Callable[[Path], "Future[Model]"]


class Shelf:
    """Models by name. Each is loaded once, at its first use.

    At most `serve.models` are in memory. The least recently used model is removed first, but never the default;
    requests that still use it are answered. at_start: {name: card.toml} of the models that are loaded before the first
    request, the default last. Raises ModelNotFound if `explain.model` has no card, and ConfigError if `serve.preload`
    names an unknown model or too many models.
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
        """The number of models in memory."""
        return len(self.loaded())

    def loaded(self) -> "list[Model]":
        """The models in memory."""
        return [load.result() for load in list(self._loads.values()) if load.done() and not _failed(load)]

    def cards(self) -> dict[str, Path]:
        """{name: card.toml} of every model that a request may name, the default first."""
        found = find_cards(self._settings.models)
        return {self.default: self._default_card, **{n: p for n, p in found.items() if n != self.default}}

    def card(self, name: str) -> Path:
        """The card of a name. Paths are refused, so that a request cannot read the disk. Raises ModelNotFound."""
        cards = self.cards()
        if name not in cards:
            raise ModelNotFound(name, cards)
        return cards[name]

    def state(self, name: str) -> str:
        """UNLOADED, LOADING, READY or BROKEN: files are missing, or loading failed. Raises ModelNotFound."""
        path = self.card(name)
        return self._state(name, lambda: look_at(path, self._settings.models).available)

    def ready(self, name: str) -> "Model | None":
        """A model in memory, or None; marks it as used last. Every request calls this, so it does not read the disk."""
        with self._lock:
            load = self._loads.get(name)
            if load is None or not load.done() or _failed(load):
                return None
            self._loads.move_to_end(name)
            return load.result()

    def listed(self) -> dict[str, tuple[str, Seen]]:
        """The state of every model by name, and facts about its card, without paths on the disk."""
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
        """The model of a name. If it is not in memory, `submit` loads it. A failed load is tried again.

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
                f"bad setting serve.preload: {len(names)} models, including the default one, but serve.models keeps "
                f"{serve.models} in memory; raise serve.models, or preload fewer models"
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
