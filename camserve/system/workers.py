"""The fixed pool of threads that owns the models, the same for every door.

Why a pool even for one call from a notebook: torch's intra-op thread count and grad mode belong to the calling
thread, so here they are always ours. The number of threads per operation is fixed, hence every door gives the
same bits, and a caller inside `torch.no_grad()` still gets gradients.
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

# Of threads that give way: of the -20 to 19 that Linux knows; a tenth of the time where others want the same core.
_NICE = 10
# Seconds after its deadline, when a task is taken for one that does not end by itself.
_LATE_SECONDS = 2.0


# Of the current thread, where it is a worker: pool: whose; threads: of each of its torch's operations; is_settled:
# whether torch knows. Of any thread: is_modest: whether it gives way to others
_mine = threading.local()
_settling = threading.Lock()


def _settle() -> None:
    """Tell torch the number of threads of the current worker, once torch is loaded: not all that works needs it.

    A worker tells its own, as it begins something: nobody waits for one that is busy, such as with a job of minutes.
    Where another thread is loading torch just now, its functions may not be there yet: then later.
    """
    torch = sys.modules.get("torch")
    if torch is None or _mine.is_settled or not hasattr(torch, "set_num_threads"):
        return
    with _settling:
        usual = torch.get_num_threads()  # a thread's first question resets its number to the default: ask it now
        torch.set_num_threads(_mine.threads)
        # that is also the default of threads that have not yet asked: one that ends here gives it back
        back = threading.Thread(target=torch.set_num_threads, args=(usual,))
        back.start()
        back.join()
    _mine.is_settled = True


def _settled(task: Callable[[], R]) -> R:
    _settle()
    return task()


class Pool(Protocol):
    """What `Workers.run` does."""

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """See `Workers.run`."""
        ...


class Workers:
    """`workers` threads, each running torch with `threads` intra-op threads, behind one queue. Callers bound it.

    modest: give way to other threads where cores are short, as `nice` does; on Linux only.
    """

    def __init__(self, workers: int, threads: int, *, modest: bool = False) -> None:
        self.count, self._modest = workers, modest
        self._due: dict[int, float] = {}
        self._under_way, self._counting = 0, threading.RLock()  # whoever submits may be told at once that it is done
        self._threads = threads
        self._pool = ThreadPoolExecutor(workers, "camserve-worker", self._start)

    def _start(self) -> None:
        _mine.pool, _mine.threads, _mine.is_settled = self, self._threads, False
        _mine.is_modest = self._modest
        if self._modest:
            give_way()

    @property
    def stuck(self) -> int:
        """How many of the threads are at a task that nobody waits for any more, and that does not end."""
        now = time.monotonic()
        return sum(now > until + _LATE_SECONDS for until in list(self._due.values()))

    def submit(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Queue `task(*args, **kwargs)`. Raises Unavailable after `close`."""
        with self._counting:
            return self._counted(partial(task, *args, **kwargs))

    def spare(self, task: Callable[[], R]) -> "Future[R] | None":
        """`task()` on a worker that has nothing else to do, at once; None where each has, or something waits."""
        with self._counting:
            if self._under_way >= self.count:
                return None
            with suppress(Unavailable):  # what was accepted is finished, by the worker that has it
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
        """The result of `task()` on a worker; its exceptions are raised here.

        deadline: seconds to wait, then DeadlinePassed: a task still queued never starts, and one that runs ends at its
        next `check_deadline`. Called from a
        worker, of this pool or another, it runs in place, so a task may use a pool without waiting for itself.
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
        """Finish what was accepted, take nothing new."""
        self._pool.shutdown(wait=True)


def own_pool() -> Workers | None:
    """The pool that the current thread is a worker of; None where it is none."""
    pool: Workers | None = getattr(_mine, "pool", None)
    return pool


def is_modest() -> bool:
    """Whether the current thread is a worker that gives way to other threads; so do threads that it makes."""
    return getattr(_mine, "is_modest", False)


def give_way() -> None:
    """Has the current thread give way to others where cores are short, and threads that it makes; on Linux only."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def shared(workers: int, threads: int) -> Workers:
    """The process's pool of so many workers, made at its first use. workers: 0: one for each core granted."""
    return _shared(workers or granted_cores(), threads, os.getpid())


@cache
def _shared(workers: int, threads: int, process: int) -> Workers:
    """`process` is in the key because threads do not survive a fork."""
    return Workers(workers, threads)
