"""Run several tasks at once, with results in order and only a few results in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(task: Callable[[Item], Result], items: Iterable[Item], threads: int) -> "Iterator[Future[Result]]":
    """Run `task(item)` for every item on `threads` threads, and yield finished futures in the order of `items`.

    At most 2 x threads items are taken ahead of the caller, so memory does not grow with the number of items.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "camserve-reader") as readers:
        try:
            for item in items:
                waiting.append(readers.submit(task, item))
                if len(waiting) > 2 * threads:
                    yield _finished(waiting.popleft())
            while waiting:
                yield _finished(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def _finished(future: "Future[Result]") -> "Future[Result]":
    future.exception()
    return future
