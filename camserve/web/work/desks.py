"""A fair queue: the request that has waited longest runs first."""

import threading
from collections import deque
from dataclasses import dataclass


class Desks:
    """`count` requests may run at once; the others wait in order. A semaphore does not keep the order."""

    def __init__(self, count: int) -> None:
        self._free, self._line = count, deque[threading.Event]()
        self._lock = threading.Lock()

    def take(self, seconds: float) -> bool:
        """Wait for a desk. Returns whether one became free in time."""
        mine = threading.Event()
        with self._lock:
            if self._free:  # nobody waits
                self._free -= 1
                return True
            self._line.append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if not mine.is_set():  # otherwise it was given just now
                self._line.remove(mine)
        return mine.is_set()

    def give_back(self) -> None:
        """Free a desk for the request that has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1


@dataclass(eq=False)
class Lane:
    """Desks, and the number of requests that have a desk or wait for one (`admitted`)."""

    desks: Desks
    admitted: int = 0
