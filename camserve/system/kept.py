"""Things that are slow to make and are kept, the latest used ones; each is made once, whoever asks at the same time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """most: so many are kept."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._there: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, threading.Lock] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under `key`, as the one used last; else what `make` makes. What it raises is raised here.

        Who asks for the same meanwhile waits; who asks for another does not.
        """
        with self._lock:
            if (found := self._ready(key)) is not None:
                return found
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if (found := self._ready(key)) is not None:
                    return found
            try:
                made = make()
                self.put(key, made)
            finally:  # keys of what cannot be made must not gather
                with self._lock:
                    self._making.pop(key, None)
            return made

    def put(self, key: K, value: V) -> None:
        """Keep it as the one used last."""
        with self._lock:
            self._there[key] = value
            while len(self._there) > self._most:
                self._there.popitem(last=False)

    def __contains__(self, key: K) -> bool:
        return key in self._there

    def __len__(self) -> int:
        return len(self._there)

    def values(self) -> list[V]:
        """All of them."""
        with self._lock:
            return list(self._there.values())

    @property
    def in_the_making(self) -> int:
        """How many are being made."""
        return len(self._making)

    def _ready(self, key: K) -> V | None:
        if key in self._there:
            self._there.move_to_end(key)
        return self._there.get(key)
