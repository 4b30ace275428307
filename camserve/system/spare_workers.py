"""Divide the steps of one long task among idle workers. Results stay in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from functools import partial
from typing import TypeVar

from camserve.system.deadlines import due, within
from camserve.system.workers import own_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

# How many results may wait for an earlier result, for each worker.
_AHEAD = 2


def shared_out(step: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Run `step(item)` for every item, and yield the results in order. An error is raised here, after all steps ended.

    If the caller is a worker, it runs steps itself, and idle workers of its pool take one step at a time. They take no
    step while other tasks wait for a worker, so a new task waits for one step at most. A caller that is not a worker
    runs all steps alone. Close the generator if you do not read it to its end.
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
    """Run a step in the calling thread, and return a finished future."""
    future = Future[Result]()
    future.set_result(step(item))
    return future
