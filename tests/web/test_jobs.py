"""Jobs: work that outlives its request, on the real service."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import picture
from flask.testing import FlaskClient
from test_web import check_problem

from camserve.config import load_settings
from camserve.errors import Busy, NoResult, UnknownJob
from camserve.images.reading import encode
from camserve.system.workers import Workers
from camserve.web.app import create_app
from camserve.web.service import Service
from camserve.web.work import job_store
from camserve.web.work.forecasts import Forecasts
from camserve.web.work.job_store import CANCELLED, DONE, FAILED, RUNNING, WAITING, Jobs

NET = """
from torch import nn


def tiny():
    body = nn.Conv2d(3, 128, 3, stride=8), nn.BatchNorm2d(128), nn.ReLU()
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 3))
"""
CARD = 'architecture = "net.py:tiny"\nlabels = "names.txt"\n[input]\nsize = 32\n'

PNG, JOBS = encode(picture(), "png"), "/api/v1/jobs"
# Seconds within which what is waited for comes, however busy the machine is.
PATIENCE = 120


def post(client: FlaskClient, query: str = "method=scorecam", data: bytes = PNG) -> Any:
    return client.post(f"{JOBS}?{query}", data=data, content_type="image/png")


def begun(client: FlaskClient, query: str = "method=scorecam") -> str:
    response = post(client, query)
    assert (response.status_code, response.headers["Location"]) == (202, f"{JOBS}/{response.get_json()['id']}")
    return str(response.headers["Location"])


def until(client: FlaskClient, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is said of a job once that holds."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        said: dict[str, Any] = client.get(path).get_json()
        if holds(said):
            return said
        time.sleep(0.01)
    pytest.fail(f"still {said}")


def ended(client: FlaskClient, path: str) -> dict[str, Any]:
    return until(client, path, lambda said: said["state"] not in (WAITING, RUNNING))


def served(folder: Path) -> Service:
    """Of a network of 128 channels: one job at a time, three in all, nothing remembered."""
    (folder / "tiny").mkdir()
    (folder / "tiny" / "net.py").write_text(NET)
    (folder / "tiny" / "names.txt").write_text("lynx\ntabby\ntiger\n")
    (folder / "tiny" / "card.toml").write_text(CARD)
    overrides: dict[str, dict[str, Any]] = {
        "compute": {"workers": 1, "batch": 8},
        "serve": {"jobs": 3, "memory_megabytes": 0, "job_megabytes": 4},
        "models": {"folders": [folder]},
        "explain": {"model": "tiny"},
    }
    made = Service(load_settings(environ={}, overrides=overrides))
    made.load()
    return made


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Service]:
    made = served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def asking(small: Service) -> FlaskClient:
    return create_app(service=small).test_client()


def has_passed(forwards: int, said: dict[str, Any]) -> bool:
    return bool(said["forwards"] > forwards)


class Steps:
    """Lets a job at work go on by so many runs of its network at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed = threading.Semaphore(0)
        real = job_store.JobRecord.check_client

        def stepwise(record: job_store.JobRecord, *progress: Any) -> None:
            if progress:
                assert self._allowed.acquire(timeout=PATIENCE)
            real(record, *progress)

        monkeypatch.setattr(job_store.JobRecord, "check_client", stepwise)

    def go(self, runs: int = 10_000) -> None:
        self._allowed.release(runs)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    made = Steps(monkeypatch)
    yield made
    made.go()


@pytest.mark.parametrize(
    "accept", ["application/json", "image/png", "image/webp", "application/x-npy", "application/zip"]
)
def test_the_result_is_what_explain_answers_bit_for_bit(asking: FlaskClient, accept: str) -> None:
    query = "method=scorecam&legend=on&target=tabby&top_k=2&expected=lynx&at=10,10"
    path = begun(asking, query)
    said = ended(asking, path)
    assert (said["state"], said["result"]) == (DONE, f"{path}/result")
    result = asking.get(said["result"], headers={"Accept": accept})
    straight = asking.post(f"/api/v1/explain?{query}", data=PNG, content_type="image/png", headers={"Accept": accept})
    assert (result.status_code, straight.status_code, result.content_type) == (200, 200, accept)
    assert result.data == straight.data
    own = {"X-Request-Id", "Server-Timing", "Date"}
    assert {k: v for k, v in result.headers if k not in own} == {k: v for k, v in straight.headers if k not in own}
    again = asking.get(said["result"], headers={"Accept": accept, "If-None-Match": result.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_two_photographs_and_trust_are_jobs_too(asking: FlaskClient) -> None:
    def form() -> dict[str, Any]:
        return {"image": (io.BytesIO(PNG), "a.png"), "like": (io.BytesIO(encode(picture(5), "png")), "b.png")}

    headers = {"Accept": "application/json"}
    path = asking.post(f"{JOBS}?trust=off", data=form()).headers["Location"]
    assert ended(asking, path)["state"] == DONE
    straight = asking.post("/api/v1/explain", data=form(), headers=headers)
    assert asking.get(f"{path}/result", headers=headers).data == straight.data
    assert "other" in straight.get_json()
    path = begun(asking, "trust=on")
    assert ended(asking, path)["state"] == DONE
    straight = asking.post("/api/v1/explain?trust=on", data=PNG, content_type="image/png", headers=headers)
    assert asking.get(f"{path}/result", headers=headers).data == straight.data
    assert "trust" in straight.get_json()


def test_progress_grows_and_cheap_requests_never_wait(asking: FlaskClient, steps: Steps) -> None:
    path = begun(asking)
    seen = list[int]()
    for _ in range(3):
        steps.go(1)
        before = seen[-1] if seen else 0
        said = until(asking, path, partial(has_passed, before))
        assert said["state"] == RUNNING
        assert said["forwards"] < said["forwards_in_all"]
        seen.append(said["forwards"])
    # the one worker, and the one of costly requests, are free
    assert asking.post("/api/v1/explain", data=PNG, content_type="image/png").status_code == 200
    costly = asking.post("/api/v1/explain?method=refinecam&sharp=on", data=PNG, content_type="image/png")
    assert costly.status_code == 200
    check_problem(asking.get(f"{path}/result"), 409, "no_result", "this job is running; its result is available when")
    assert 'camserve_jobs{state="running"} 1.0' in asking.get("/metrics").text
    steps.go()
    said = ended(asking, path)
    assert (said["state"], said["forwards"]) == (DONE, said["forwards_in_all"])
    assert 'camserve_jobs{state="done"} 1.0' in asking.get("/metrics").text


def test_cancel_ends_it_between_two_runs_of_the_network(asking: FlaskClient, small: Service, steps: Steps) -> None:
    path, waits = begun(asking), begun(asking, "method=gradcam")
    steps.go(2)
    until(asking, path, lambda said: said["forwards"] > 0)
    assert asking.get(waits).get_json()["state"] == WAITING
    assert asking.delete(waits).get_json()["state"] == CANCELLED  # at once: it has not begun
    assert asking.delete(path).get_json()["state"] == RUNNING
    steps.go(1)
    said = ended(asking, path)
    assert said["state"] == CANCELLED
    assert said["forwards"] < said["forwards_in_all"]
    check_problem(asking.get(f"{path}/result"), 409, "no_result", "this job was cancelled")
    assert small.jobs.nbytes < 20_000  # of neither image anything is kept
    assert asking.delete(path).status_code == 200
    check_problem(asking.get(path), 404, "unknown_job", "there is no such job")


def test_what_explain_refuses_is_refused_at_once_or_told_of_the_job(asking: FlaskClient) -> None:
    check_problem(post(asking, data=b"no picture"), 415, "unsupported_type", "")
    check_problem(post(asking, data=PNG[:200]), 422, "bad_image", "")
    check_problem(post(asking, "method=grad_cam"), 400, "unknown_name", "did you mean 'gradcam'")
    check_problem(post(asking, "model=nonesuch"), 404, "unknown_model", "nonesuch")
    accept = {"Accept": "text/plain"}
    refused = asking.post(JOBS, data=PNG, content_type="image/png", headers=accept)
    assert refused.status_code == 406
    path = begun(asking, "method=gradcam&target=tiggy")
    said = ended(asking, path)
    assert (said["state"], said["status"], said["code"]) == (FAILED, 400, "unknown_name")
    assert "did you mean 'tiger" in said["detail"]
    check_problem(asking.get(f"{path}/result"), 400, "unknown_name", "did you mean 'tiger")
    for method in (asking.get, asking.delete):
        check_problem(method(f"{JOBS}/0123"), 404, "unknown_job", "there is no such job")
    check_problem(asking.get(f"{JOBS}/0123/result"), 404, "unknown_job", "there is no such job")


def test_a_job_has_its_own_deadline(asking: FlaskClient, small: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forecasts, "seconds", lambda *_, **__: {"scorecam": 95.0, "sscam": 9500.0})
    straight = asking.post("/api/v1/explain?method=scorecam", data=PNG, content_type="image/png")
    check_problem(straight, 422, "too_long", "or ask for a job (/api/v1/jobs)")
    assert ended(asking, begun(asking))["state"] == DONE
    said = ended(asking, begun(asking, "method=sscam"))
    assert (said["state"], said["code"]) == (FAILED, "too_long")
    assert "and 900 s are allowed (serve.job_seconds)" in said["detail"]
    assert "ask for a job" not in said["detail"]
    hurried = small.settings.serve.model_copy(update={"job_seconds": 0.001})
    monkeypatch.setattr(small.jobs, "_settings", hurried)
    monkeypatch.setattr(Forecasts, "check", lambda *_, **__: None)
    said = ended(asking, begun(asking))
    assert (said["state"], said["status"], said["code"]) == (FAILED, 504, "deadline_passed")
    assert "within 0.001 s (serve.job_seconds)" in said["detail"]


def test_a_full_house_is_said_with_a_time_to_come_back(asking: FlaskClient, steps: Steps) -> None:
    paths = [begun(asking) for _ in range(3)]
    refused = post(asking)
    check_problem(refused, 429, "busy", "3 jobs run, wait or have a kept result")
    assert int(refused.headers["Retry-After"]) >= 1
    asking.delete(paths[2])  # one that was cancelled takes no place
    paths[2] = begun(asking)
    assert post(asking).status_code == 429
    steps.go()
    assert [ended(asking, path)["state"] for path in paths] == 3 * [DONE]
    assert post(asking).status_code == 429  # results are kept
    asking.delete(paths[0])
    assert ended(asking, begun(asking))["state"] == DONE


def test_a_method_s_own_failure_is_logged_and_not_told(
    asking: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise SystemExit("/a/secret/path")

    monkeypatch.setattr("camserve.explain.seeing.observe", broken)
    said = ended(asking, begun(asking, "method=gradcam"))
    assert (said["state"], said["status"], said["code"]) == (FAILED, 500, "internal_error")
    assert "secret" not in json.dumps(said)
    assert "secret" in caplog.text


def test_jobs_end_when_the_service_does(tmp_path: Path, steps: Steps) -> None:
    made = served(tmp_path)
    client = create_app(service=made).test_client()
    paths = [begun(client) for _ in range(3)]
    steps.go(1)
    until(client, paths[0], lambda said: said["forwards"] > 0)
    assert made.idle_seconds() == 0
    made.drain()
    steps.go()
    made.close()
    assert [client.get(path).get_json()["state"] for path in paths] == 3 * [CANCELLED]
    assert post(client).status_code == 503


# ---- the store by itself


class Store:
    """Jobs over one thread, whose clock is ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: Workers, **serve: Any) -> None:
        self.now, self.pool = 100.0, pool
        monkeypatch.setattr("camserve.web.work.job_store.time.monotonic", lambda: self.now)
        self.jobs = Jobs(load_settings(environ={}, overrides={"serve": serve}).serve)

    def begin(self, found: int = 0, size: int = 0) -> job_store.Job:
        job = self.jobs.begin(self.pool, b"asked", size, lambda *_: (b"found", found), lambda error, _: error, "name")
        assert job.future is not None
        job.future.result(PATIENCE)
        return job


@pytest.fixture
def pool() -> Iterator[Workers]:
    made = Workers(1, 1)
    yield made
    made.close()


def test_what_has_ended_is_forgotten_after_its_time(monkeypatch: pytest.MonkeyPatch, pool: Workers) -> None:
    store = Store(monkeypatch, pool, job_kept_seconds=60)
    first = store.begin()
    store.now += 30
    second = store.begin()
    store.now += 30.5
    with pytest.raises(UnknownJob, match="deleted 60 s after"):
        store.jobs.get(first.id)
    assert store.jobs.get(second.id).result() == b"found"
    store.now += 30
    store.jobs.forget_old()  # nobody asks
    assert (store.jobs.nbytes, store.jobs.active, sum(store.jobs.counts().values())) == (0, 0, 0)


def test_bytes_are_bounded_and_the_oldest_result_goes_for_a_new_one(
    monkeypatch: pytest.MonkeyPatch, pool: Workers
) -> None:
    store = Store(monkeypatch, pool, job_megabytes=1, jobs=10)
    with pytest.raises(Busy, match=r"this job would add .*; allowed are 1 \(serve.job_megabytes\)") as refused:
        store.begin(size=2**20)
    assert refused.value.retry_after == 5
    first = store.begin(found=400_000, size=100_000)
    store.now += 880
    second = store.begin(found=400_000, size=50_000)
    with pytest.raises(Busy) as refused:
        store.begin(size=100_000)
    assert refused.value.retry_after == 20  # then the first is forgotten
    third = store.begin(found=400_000, size=50_000)
    with pytest.raises(UnknownJob):
        store.jobs.get(first.id)
    assert [store.jobs.get(one.id).state for one in (second, third)] == [DONE, DONE]
    assert store.jobs.nbytes <= 2**20


def test_ids_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch, pool: Workers) -> None:
    store = Store(monkeypatch, pool)
    ids = {store.begin().id for _ in range(16)}
    assert len(ids) == 16
    assert {len(one) for one in ids} == {32}  # 128 bits


def test_a_service_may_take_none(monkeypatch: pytest.MonkeyPatch, pool: Workers) -> None:
    store = Store(monkeypatch, pool, jobs=0)
    with pytest.raises(UnknownJob, match="takes no jobs"):
        store.begin()


def test_what_was_cancelled_while_its_last_network_ran_has_no_result(
    monkeypatch: pytest.MonkeyPatch, pool: Workers
) -> None:
    store = Store(monkeypatch, pool)

    def work(record: job_store.JobRecord, _: float) -> tuple[bytes, int]:
        record.is_cancelled = True
        return b"found", 5

    job = store.jobs.begin(pool, b"", 0, work, lambda error, _: error)
    assert job.future is not None
    job.future.result(PATIENCE)
    with pytest.raises(NoResult, match="was cancelled"):
        job.result()
