"""A cache of the most recently used values that are slow to make. Threads that ask at the same time make it once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A cache. most: how many values it keeps."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._there: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, threading.Lock] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of `key`, and mark it as used last. A missing value is made with `make`; errors are raised.

        Other threads that ask for the same key wait; threads that ask for another key do not.
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
            finally:  # keys whose values cannot be made must not pile up
                with self._lock:
                    self._making.pop(key, None)
            return made

    def put(self, key: K, value: V) -> None:
        """Keep a value, and mark it as used last."""
        with self._lock:
            self._there[key] = value
            while len(self._there) > self._most:
                self._there.popitem(last=False)

    def __contains__(self, key: K) -> bool:
        return key in self._there

    def __len__(self) -> int:
        return len(self._there)

    def values(self) -> list[V]:
        """Return all values."""
        with self._lock:
            return list(self._there.values())

    @property
    def in_the_making(self) -> int:
        """How many values are being made now."""
        return len(self._making)

    def _ready(self, key: K) -> V | None:
        if key in self._there:
            self._there.move_to_end(key)
        return self._there.get(key)
