"""Steps of one task that idle workers share: in order, until the same deadline, and never before who waits."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from camserve.errors import DeadlinePassed
from camserve.system.deadlines import check_deadline
from camserve.system.spare_workers import shared_out
from camserve.system.workers import Workers

SECONDS = 20.0


@pytest.fixture
def pool() -> Iterator[Workers]:
    made = Workers(2, 1)
    yield made
    made.close()


def test_two_workers_do_the_steps_of_one_task_and_results_stay_in_order(pool: Workers) -> None:
    both, threads = threading.Barrier(2), set()

    def step(number: int) -> int:
        threads.add(threading.get_ident())
        both.wait(SECONDS)  # nobody gets past alone
        time.sleep(0.002 * (number % 2))
        return number * number

    found = pool.run(lambda: list(shared_out(step, range(10))))
    assert found == [number * number for number in range(10)]
    assert len(threads) == 2


def test_a_worker_that_others_want_is_not_taken(pool: Workers) -> None:
    """The other worker has a task; when that ends another waits, and steps go on alone until it has had its turn."""
    begun, end, threads, order = threading.Event(), threading.Event(), list[int](), list[str]()

    def busy() -> None:
        begun.set()
        end.wait(SECONDS)

    def step(number: int) -> int:
        threads.append(threading.get_ident())
        order.append("step")
        if number == 3:
            end.set()
            waiting.result(SECONDS)
        return number

    pool.submit(busy)
    begun.wait(SECONDS)
    task = pool.submit(lambda: (threading.get_ident(), list(shared_out(step, range(4)))))
    waiting = pool.submit(order.append, "other")
    worker, found = task.result(SECONDS)
    assert found == [0, 1, 2, 3]
    assert set(threads) == {worker}
    assert order == ["step"] * 4 + ["other"]


def test_what_a_step_raises_is_raised_and_nothing_is_under_way_afterwards(pool: Workers) -> None:
    both, at_work = threading.Barrier(2), set[int]()

    def step(number: int) -> None:
        at_work.add(number)
        try:
            if number < 2:
                both.wait(SECONDS)
            if number == 0:
                raise ValueError("the first")
            time.sleep(0.05)
        finally:
            at_work.remove(number)

    def task() -> set[int]:
        with pytest.raises(ValueError, match="the first"):
            list(shared_out(step, range(6)))
        return set(at_work)

    assert pool.run(task) == set()


def test_helpers_have_the_deadline_of_whoever_asks(pool: Workers) -> None:
    both, late = threading.Barrier(2), list[int]()

    def step(number: int) -> None:
        both.wait(SECONDS)
        time.sleep(0.2)
        try:
            check_deadline()
        except DeadlinePassed:
            late.append(number)

    with pytest.raises(DeadlinePassed):
        pool.run(lambda: list(shared_out(step, range(2))), deadline=0.1)
    pool.close()
    assert sorted(late) == [0, 1]


def test_a_generator_that_is_closed_leaves_nothing_under_way(pool: Workers) -> None:
    at_work = set[int]()

    def step(number: int) -> int:
        at_work.add(number)
        time.sleep(0.01)
        at_work.remove(number)
        return number

    def task() -> set[int]:
        with closing(shared_out(step, range(20))) as results:
            assert next(results) == 0
        return set(at_work)

    assert pool.run(task) == set()


def test_whoever_is_no_worker_works_alone() -> None:
    threads = set(shared_out(lambda _: threading.get_ident(), range(5)))
    assert threads == {threading.get_ident()}
