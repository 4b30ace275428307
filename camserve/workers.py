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
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from camserve.config import Compute
from camserve.errors import Busy, DeadlinePassed, Unavailable

P = ParamSpec("P")
R = TypeVar("R")


# is_worker: whether the current thread is one, of whichever pool; until: when its task's caller stops waiting
_mine = threading.local()


class Workers:
    """`workers` threads, each running torch with `threads` intra-op threads, behind one queue.

    queue: how many tasks may wait; one more raises Busy. None: unbounded, for callers that bound themselves.
    """

    def __init__(self, workers: int, threads: int, queue: int | None = None) -> None:
        self.count = workers
        self._queue = queue
        self._places = threading.BoundedSemaphore(workers + queue) if queue is not None else None
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
        """Queue `task(*args, **kwargs)`. Raises Busy where the queue is full, Unavailable after `close`."""
        if self._places is not None and not self._places.acquire(blocking=False):
            raise Busy(
                f"{self.count} tasks are running and {self._queue} are waiting, which is the limit (serve.queue); "
                "try again shortly"
            )
        try:
            future = self._pool.submit(task, *args, **kwargs)
        except RuntimeError:
            self._release()
            raise Unavailable("camserve is shutting down") from None
        future.add_done_callback(lambda _: self._release())
        return future

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

    def _release(self) -> None:
        if self._places is not None:
            self._places.release()


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


def shared(compute: Compute) -> Workers:
    """The process's pool for these settings; made at its first use."""
    return _shared(compute.workers or granted_cores(), compute.threads, os.getpid())


@cache
def _shared(workers: int, threads: int, process: int) -> Workers:
    """`process` is in the key because threads do not survive a fork."""
    return Workers(workers, threads)


def granted_cores() -> int:
    """Cores this process may use: its affinity, less where the cgroup's quota grants less; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, int(_cgroup_quota() or cores)))


def _cgroup_quota() -> float | None:
    """CPUs the cgroup (v2, then v1) may use, None without a limit."""
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
