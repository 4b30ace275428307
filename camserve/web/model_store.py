"""The models of the service in memory: which there are, which are loaded, and which has to go for another."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING

from camserve.config.schema import Settings
from camserve.errors import CamserveError, ConfigError, DeadlinePassed, ModelNotFound, Unavailable, UnknownName
from camserve.models.card import card_path, check_files, find_cards

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
        return sum(load.done() and not _failed(load) for load in list(self._loads.values()))

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
        load = self._loads.get(name)
        if load is not None and not load.done():
            return LOADING
        if load is not None:
            return BROKEN if _failed(load) else READY
        return UNLOADED if is_complete(path) else BROKEN

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


def is_complete(path: Path) -> bool:
    """Whether a card can be read and its files are there."""
    try:
        check_files(path)
    except CamserveError:
        return False
    return True


def _failed(load: "Future[Model]") -> bool:
    return load.done() and (load.cancelled() or load.exception() is not None)
