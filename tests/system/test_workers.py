"""The pool: fixed, and invisible to the threads around it."""

import sys
import threading
import time

import pytest
import torch

from camserve.errors import DeadlinePassed, Unavailable
from camserve.system.cores import granted_cores
from camserve.system.deadlines import check_deadline
from camserve.system.workers import Workers, shared


def test_workers_have_their_threads_and_callers_keep_theirs() -> None:
    before = torch.get_num_threads()
    pool = Workers(2, 1)
    assert pool.run(torch.get_num_threads) == 1
    assert torch.get_num_threads() == before
    seen: list[int] = []
    newcomer = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    newcomer.start()
    newcomer.join()
    assert seen == [before]
    pool.close()


def test_torch_may_be_loaded_while_a_worker_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked, before = threading.Event(), torch.get_num_threads()
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "torch")
        pool = Workers(2, 1)
        busy = pool.submit(lambda: (blocked.wait(10), pool.run(torch.get_num_threads)))
        pool.run(int)
    assert pool.run(torch.get_num_threads, deadline=5) == 1  # asked while the other worker is busy
    assert not busy.done()
    blocked.set()
    assert busy.result(5) == (True, 1)
    assert torch.get_num_threads() == before
    pool.close()


def test_whoever_asks_for_the_same_numbers_shares_a_pool() -> None:
    assert shared(1, 1) is shared(1, 1)
    assert shared(1, 2) is not shared(1, 1)
    assert shared(1, 2).run(torch.get_num_threads) == 2
    assert shared(0, 1) is shared(granted_cores(), 1)
    assert shared(0, 1).count == granted_cores()


def test_a_task_has_gradients_although_its_caller_has_none() -> None:
    pool = Workers(1, 1)
    with torch.no_grad():
        assert pool.run(torch.is_grad_enabled)
    with torch.inference_mode():
        assert not pool.run(torch.is_inference_mode_enabled)
    pool.close()


def test_a_task_may_use_the_pool_it_runs_on() -> None:
    pool = Workers(1, 1)
    assert pool.run(lambda: pool.run(lambda: 5)) == 5
    pool.close()


def test_exceptions_reach_the_caller() -> None:
    pool = Workers(1, 1)
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="my own"):
        pool.run(_own_timeout, deadline=5)
    pool.close()


def _own_timeout() -> None:
    raise TimeoutError("my own")


def test_a_passed_deadline_is_an_error_and_the_task_never_starts() -> None:
    pool = Workers(1, 1)
    blocked, started = threading.Event(), threading.Event()
    running = pool.submit(blocked.wait)
    with pytest.raises(DeadlinePassed, match=r"within 0\.05 s"):
        pool.run(started.set, deadline=0.05)
    blocked.set()
    running.result(5)
    time.sleep(0.05)
    assert not started.is_set()
    pool.close()


def test_a_running_task_ends_when_nobody_waits_any_more() -> None:
    pool, ended = Workers(1, 1), threading.Event()

    def long() -> None:
        try:
            for _ in range(1000):
                time.sleep(0.01)
                check_deadline()
        except DeadlinePassed:
            ended.set()
            raise

    with pytest.raises(DeadlinePassed):
        pool.run(long, deadline=0.05)
    assert ended.wait(5)
    pool.run(check_deadline)  # the next task has a deadline of its own, or none
    pool.close()


def test_a_closed_pool_takes_nothing() -> None:
    pool = Workers(1, 1)
    pool.close()
    with pytest.raises(Unavailable, match="shutting down"):
        pool.run(lambda: 1)


def test_granted_cores_is_a_number_one_can_have() -> None:
    assert 1 <= granted_cores() <= 4096
