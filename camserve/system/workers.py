"""The fixed pool of threads that runs the models, for the Python API, the command line and the HTTP service.

Even one call from a notebook uses the pool: torch's intra-op thread count and grad mode belong to a thread, and a
worker sets its own. The number of threads per operation is fixed, so Python, command line and HTTP give the same bits,
and a caller inside `torch.no_grad()` still gets gradients.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import cache, partial
from typing import ParamSpec, Protocol, TypeVar

from camserve.errors import DeadlinePassed, Unavailable
from camserve.system.cores import granted_cores
from camserve.system.deadlines import within

P = ParamSpec("P")
R = TypeVar("R")

# The nice value of modest threads, of -20 to 19 on Linux: a tenth of the time of a core that other threads want too.
_NICE = 10
# A task that still runs this many seconds after its deadline counts as stuck.
_LATE_SECONDS = 2.0


# Facts of the current thread. Of a worker: pool: its pool; threads: intra-op threads of torch; is_settled: whether
# torch knows the number. Of any thread: is_modest: whether it gives way to other threads.
_mine = threading.local()
_settling = threading.Lock()


def _settle() -> None:
    """Tell torch the current worker's number of threads, if torch is loaded: some tasks do not need torch.

    Each worker does this for itself when it starts a task, so that no thread waits for a busy worker. If another thread
    is loading torch just now, its functions may be missing: then a later task does it.
    """
    torch = sys.modules.get("torch")
    if torch is None or _mine.is_settled or not hasattr(torch, "set_num_threads"):
        return
    with _settling:
        usual = torch.get_num_threads()  # a thread's first call resets its number to the default: call it now
        torch.set_num_threads(_mine.threads)
        # this also changed the default of new threads: a short-lived thread restores it
        back = threading.Thread(target=torch.set_num_threads, args=(usual,))
        back.start()
        back.join()
    _mine.is_settled = True


def _settled(task: Callable[[], R]) -> R:
    _settle()
    return task()


class Pool(Protocol):
    """An object that runs tasks as `Workers.run` does."""

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """See `Workers.run`."""
        ...


class Workers:
    """`workers` threads behind one queue. Each runs torch with `threads` intra-op threads. Callers limit the queue.

    modest: give way to other threads if there are too few cores, as `nice` does; on Linux only.
    """

    def __init__(self, workers: int, threads: int, *, modest: bool = False) -> None:
        self.count, self._modest = workers, modest
        self._due: dict[int, float] = {}
        self._under_way, self._counting = 0, threading.RLock()  # RLock: a task may end while it is submitted
        self._threads = threads
        self._pool = ThreadPoolExecutor(workers, "camserve-worker", self._start)

    def _start(self) -> None:
        _mine.pool, _mine.threads, _mine.is_settled = self, self._threads, False
        _mine.is_modest = self._modest
        if self._modest:
            give_way()

    @property
    def stuck(self) -> int:
        """How many threads run a task that does not end and that no caller waits for."""
        now = time.monotonic()
        return sum(now > until + _LATE_SECONDS for until in list(self._due.values()))

    def submit(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Queue `task(*args, **kwargs)`. Raises Unavailable after `close`."""
        with self._counting:
            return self._counted(partial(task, *args, **kwargs))

    def spare(self, task: Callable[[], R]) -> "Future[R] | None":
        """Run `task()` at once on an idle worker; None if no worker is idle, or if a task waits."""
        with self._counting:
            if self._under_way >= self.count:
                return None
            with suppress(Unavailable):  # after `close` the caller runs the task itself
                return self._counted(task)
            return None

    def _counted(self, task: Callable[[], R]) -> "Future[R]":
        try:
            future = self._pool.submit(_settled, task)
        except RuntimeError:
            raise Unavailable("camserve is shutting down") from None
        self._under_way += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        with self._counting:
            self._under_way -= 1

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """Run `task()` on a worker and return its result; its exceptions are raised here.

        deadline: seconds to wait, then DeadlinePassed is raised: a queued task never starts, and a running task stops
        at its next `check_deadline`. If the caller is a worker, of this pool or another, the task runs in the calling
        thread, so that a task can use a pool without waiting for itself.
        """
        if own_pool() is not None:
            return _settled(task)
        until = None if deadline is None else time.monotonic() + deadline
        future = self.submit(self._by, until, task)
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

    def _by(self, until: float | None, task: Callable[[], R]) -> R:
        me = threading.get_ident()
        self._due[me] = math.inf if until is None else until
        try:
            with within(until):
                return task()
        finally:
            del self._due[me]

    def close(self) -> None:
        """Finish accepted tasks, and accept no new tasks."""
        self._pool.shutdown(wait=True)


def own_pool() -> Workers | None:
    """Return the pool of the current thread; None if the thread is not a worker."""
    pool: Workers | None = getattr(_mine, "pool", None)
    return pool


def is_modest() -> bool:
    """Whether the current thread gives way to other threads; threads that it starts do the same."""
    return getattr(_mine, "is_modest", False)


def give_way() -> None:
    """Let the current thread, and threads that it starts, give way to others if cores are short; on Linux only."""
    if sys.platform == "linux":  # on other systems it would change the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def shared(workers: int, threads: int) -> Workers:
    """Return the process's pool with this many workers, made at its first use. workers: 0 means one per core."""
    return _shared(workers or granted_cores(), threads, os.getpid())


@cache
def _shared(workers: int, threads: int, process: int) -> Workers:
    """Make the pool once per process: threads do not survive a fork, so `process` is a part of the key."""
    return Workers(workers, threads)
