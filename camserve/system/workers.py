"""The fixed pool of threads that owns the models, the same for every door.

Why a pool even for one call from a notebook: torch's intra-op thread count and grad mode belong to the calling
thread, so here they are always ours. The number of threads per operation is fixed, hence every door gives the
same bits, and a caller inside `torch.no_grad()` still gets gradients.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cache
from typing import ParamSpec, Protocol, TypeVar

import torch

from camserve.errors import DeadlinePassed, Unavailable
from camserve.system.cores import granted_cores

P = ParamSpec("P")
R = TypeVar("R")


# is_worker: whether the current thread is one, of whichever pool; until: when its task's caller stops waiting
_mine = threading.local()


class Pool(Protocol):
    """What `Workers.run` does."""

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """See `Workers.run`."""
        ...


class Workers:
    """`workers` threads, each running torch with `threads` intra-op threads, behind one queue. Callers bound it."""

    def __init__(self, workers: int, threads: int) -> None:
        self.count = workers
        self._started = threading.Barrier(workers + 1)
        callers = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(workers, "camserve-worker", self._start, (threads,))
        for _ in range(workers):
            self._pool.submit(self._started.wait)
        self._started.wait()
        # set_num_threads in a worker is also the default of threads that have not yet asked: give it back
        torch.set_num_threads(callers)

    def _start(self, threads: int) -> None:
        _mine.is_worker = True
        torch.get_num_threads()  # a thread's first question resets its number to the default: ask it now
        torch.set_num_threads(threads)

    def submit(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Queue `task(*args, **kwargs)`. Raises Unavailable after `close`."""
        try:
            return self._pool.submit(task, *args, **kwargs)
        except RuntimeError:
            raise Unavailable("camserve is shutting down") from None

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """The result of `task()` on a worker; its exceptions are raised here.

        deadline: seconds to wait, then DeadlinePassed: a task still queued never starts, and one that runs ends at its
        next `check_deadline`. Called from a
        worker, of this pool or another, it runs in place, so a task may use a pool without waiting for itself.
        """
        if getattr(_mine, "is_worker", False):
            return task()
        until = None if deadline is None else time.monotonic() + deadline
        future = self.submit(_within, task, until)
        try:
            return future.result(deadline)
        except FutureTimeout:
            if future.done():  # the task itself raised TimeoutError
                raise
            future.cancel()
            raise DeadlinePassed(
                f"no answer within {deadline:.3g} s, waiting included (serve.deadline_seconds)"
            ) from None
        except CancelledError:
            raise Unavailable("camserve is shutting down") from None

    def close(self) -> None:
        """Finish what was accepted, take nothing new."""
        self._pool.shutdown(wait=True)


def _within(task: Callable[[], R], until: float | None) -> R:
    _mine.until = until
    try:
        return task()
    finally:
        _mine.until = None


def check_deadline() -> None:
    """Between the steps of a long task: raises DeadlinePassed where nobody waits for it any more."""
    until = getattr(_mine, "until", None)
    if until is not None and time.monotonic() > until:
        raise DeadlinePassed("nobody waits for this answer any more")


def shared(workers: int, threads: int) -> Workers:
    """The process's pool of so many workers, made at its first use. workers: 0: one for each core granted."""
    return _shared(workers or granted_cores(), threads, os.getpid())


@cache
def _shared(workers: int, threads: int, process: int) -> Workers:
    """`process` is in the key because threads do not survive a fork."""
    return Workers(workers, threads)
