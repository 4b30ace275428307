"""Where requests wait for room to work: in line, who has waited longest first."""

import threading
from collections import deque
from dataclasses import dataclass


class Desks:
    """So many may work; the others wait in line. With a semaphore, who comes just then goes first, and some wait on."""

    def __init__(self, count: int) -> None:
        self._free, self._line = count, deque[threading.Event]()
        self._lock = threading.Lock()

    def take(self, seconds: float) -> bool:
        """Whether there was one within that time."""
        mine = threading.Event()
        with self._lock:
            if self._free:  # then nobody waits
                self._free -= 1
                return True
            self._line.append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if not mine.is_set():  # else it was given in this moment
                self._line.remove(mine)
        return mine.is_set()

    def give_back(self) -> None:
        """To who has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1


@dataclass(eq=False)
class Lane:
    """Where requests wait for a desk. admitted: how many have a turn or wait for one."""

    desks: Desks
    admitted: int = 0
