"""The steps of one long task, shared out between workers that have nothing else to do. Results stay in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from functools import partial
from typing import TypeVar

from camserve.system.deadlines import due, within
from camserve.system.workers import own_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

# Results that may wait for an earlier one, for each worker.
_AHEAD = 2


def shared_out(step: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """`step(item)` for every item, in order; what it raises is raised here, and nothing is under way afterwards.

    A worker that asks does steps itself. Those of its pool that have nothing to do take one at a time, and none while
    anything waits for a worker: so whoever comes meanwhile waits for one step at most. Any other thread works alone.
    Close the generator where it is not read to its end.
    """
    pool, left, made = own_pool(), deque(items), deque[Future[Result]]()
    if pool is None or pool.count == 1:
        yield from map(step, left)
        return
    until, most = due(), _AHEAD * pool.count
    try:
        while left or made:
            while left and len(made) < most and (helped := pool.spare(partial(_within, until, step, left[0]))):
                left.popleft()
                made.append(helped)
            if left and len(made) < most:
                made.append(_done(step, left.popleft()))
            else:
                made[0].exception()
            while made and made[0].done():
                yield made.popleft().result()
    finally:
        for future in made:
            future.cancel()
        wait(made)


def _within(until: float | None, step: Callable[[Item], Result], item: Item) -> Result:
    with within(until):
        return step(item)


def _done(step: Callable[[Item], Result], item: Item) -> Future[Result]:
    """A step that was done by whoever asks."""
    future = Future[Result]()
    future.set_result(step(item))
    return future
