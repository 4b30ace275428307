"""Jobs: work that continues after the request that started it. Other requests ask for its state and fetch its result.

Jobs run on their own threads with low priority, like those of costly requests, so other requests do not wait for jobs.
`serve.jobs`, `serve.job_megabytes`, `serve.job_seconds` and `serve.job_kept_seconds` limit their number, bytes, run
time and storage time.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camserve.config.schema import Serve
from camserve.errors import Busy, ClientGone, DeadlinePassed, NoResult, UnknownJob
from camserve.system.deadlines import within
from camserve.web.request_record import Record

if TYPE_CHECKING:
    from camserve.system.workers import Workers

log = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED, CANCELLED = STATES = "waiting", "running", "done", "failed", "cancelled"

# Bytes of a job besides its input and its result.
_REST = 8192
# Seconds of Retry-After: the default, and the maximum.
_USUAL_WAIT, _LONGEST_WAIT = 5, 60


@dataclass
class JobRecord(Record):
    """The record of a job. done, total: runs of the network; total is None while it is unknown.

    is_over(): whether the service is shutting down.
    """

    limit: str = "job_seconds"
    done: int = 0
    total: int | None = None
    is_cancelled: bool = False
    is_over: Callable[[], bool] = lambda: False

    def check_client(self, done: int = 0, total: int = 0) -> None:
        """Raise ClientGone if the job must end. Called between runs of the network."""
        if total:
            self.done, self.total = done, total
        if self.is_cancelled or self.is_over():
            raise ClientGone("the job was cancelled")


@dataclass(eq=False)
class Job:
    """A job. asked: its input; found: its result; both are opaque here, and None if there is nothing to return.

    size: bytes of both. failure: the error of a failed job, to be shown. started, ended: by time.monotonic().
    """

    id: str
    record: JobRecord
    asked: Any
    size: int
    state: str = WAITING
    found: Any = None
    failure: Any = None
    started: float | None = None
    ended: float | None = None
    future: "Future[None] | None" = None

    @property
    def seconds(self) -> float:
        """Seconds for which the job has run."""
        if self.started is None:
            return 0.0
        return (self.ended or time.monotonic()) - self.started

    def result(self) -> Any:
        """The result. Raises NoResult if there is none; of a failed job, show `failure` instead."""
        if self.state == CANCELLED:
            raise NoResult("this job was cancelled; there is no result")
        if self.state != DONE:
            raise NoResult(f"this job is {self.state}; its result is available when it is {DONE}")
        return self.found


class Jobs:
    """All jobs by id. Nobody can guess an id. Safe to share between threads."""

    def __init__(self, settings: Serve) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._is_over = False

    @property
    def nbytes(self) -> int:
        """The bytes of all jobs."""
        return sum(job.size for job in list(self._jobs.values()))

    @property
    def active(self) -> int:
        """The number of jobs that wait or run."""
        return sum(job.ended is None for job in list(self._jobs.values()))

    def counts(self) -> dict[str, int]:
        """The number of jobs in each state."""
        states = [job.state for job in list(self._jobs.values())]
        return {state: states.count(state) for state in STATES}

    def begin(
        self,
        pool: "Workers",
        asked: Any,
        size: int,
        work: Callable[[JobRecord, float], tuple[Any, int]],
        tell: Callable[[Exception, Record], Any],
        name: str = "",
    ) -> Job:
        """Queue `work(record, until)`, which returns a result and its size in bytes.

        size: bytes of `asked`. tell: converts an exception to the error to show. name: the id of the request. Raises
        UnknownJob if the service takes no jobs, and Busy if there is no room.
        """
        if not self._settings.jobs:
            raise UnknownJob("this service takes no jobs (serve.jobs)")
        job = Job(secrets.token_hex(16), JobRecord(name, is_over=lambda: self._is_over), asked, size + _REST)
        with self._lock:
            self._forget_old()
            self._make_room(job.size)
            self._jobs[job.id] = job
        try:
            job.future = pool.submit(self._run, job, work, tell)
        except BaseException:
            with self._lock:
                self._jobs.pop(job.id, None)
            raise
        return job

    def get(self, id: str) -> Job:
        """The job with this id. Raises UnknownJob if it never existed or is deleted."""
        with self._lock:
            self._forget_old()
            job = self._jobs.get(id)
        if job is None:
            kept = self._settings.job_kept_seconds
            raise UnknownJob(f"there is no such job; a job is deleted {kept:g} s after its end")
        return job

    def cancel(self, id: str) -> Job:
        """Cancel a job. A running job ends after the current run of the network; a job that has ended is deleted.

        Raises UnknownJob.
        """
        job = self.get(id)
        with self._lock:
            job.record.is_cancelled = True
            if job.state == WAITING:
                self._end(job, CANCELLED)
            elif job.ended is not None:
                self._jobs.pop(id, None)
        return job

    def forget_old(self) -> None:
        """Delete jobs that ended long enough ago. Call this about once a second."""
        with self._lock:
            self._forget_old()

    def stop(self) -> None:
        """End all jobs. Running jobs end after the current run of the network. Takes no lock, for signal handlers."""
        self._is_over = True

    def _run(
        self,
        job: Job,
        work: Callable[[JobRecord, float], tuple[Any, int]],
        tell: Callable[[Exception, Record], Any],
    ) -> None:
        allowed = self._settings.job_seconds
        with self._lock:
            if job.ended is not None:
                return
            job.state, job.started = RUNNING, time.monotonic()
            until = job.started + allowed
        try:
            with within(until):
                job.record.check_client()
                found, size = work(job.record, until)
        except ClientGone:
            self._ended(job, CANCELLED)
        except DeadlinePassed:
            late = DeadlinePassed(f"the job did not end within {allowed:g} s (serve.job_seconds)")
            self._ended(job, FAILED, failure=tell(late, job.record))
        except BaseException as error:  # a network may raise any error, and then the job would stay "running" forever
            whole = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self._ended(job, FAILED, failure=tell(whole, job.record))
        else:
            self._ended(job, DONE, found=found, size=size)

    def _ended(self, job: Job, state: str, *, found: Any = None, size: int = 0, failure: Any = None) -> None:
        with self._lock:
            if job.record.is_cancelled:  # during its last run of the network
                state, found = CANCELLED, None
            job.failure = failure
            self._end(job, state, found, size)
        log.info("job of request %s is %s after %.1f s", job.record.id, job.state, job.seconds)

    def _end(self, job: Job, state: str, found: Any = None, size: int = 0) -> None:
        job.state, job.ended, job.found = state, time.monotonic(), found
        if state == DONE:
            job.size += size
            self._forget_oldest(job)
        else:
            job.asked, job.size = None, _REST

    def _forget_oldest(self, but: Job) -> None:
        """Delete the oldest results while all results take more bytes than allowed."""
        over = [one for one in self._jobs.values() if one.ended is not None and one is not but]
        for one in sorted(over, key=lambda one: one.ended or 0):
            if self.nbytes <= self._settings.job_bytes:
                return
            del self._jobs[one.id]

    def _forget_old(self) -> None:
        until = time.monotonic() - self._settings.job_kept_seconds
        for one in list(self._jobs.values()):
            if one.ended is not None and one.ended < until:
                del self._jobs[one.id]

    def _make_room(self, size: int) -> None:
        """Delete jobs without a result. Raises Busy if there is still no room."""
        most, most_bytes = self._settings.jobs, self._settings.job_bytes
        empty = [one.id for one in self._jobs.values() if one.state in (FAILED, CANCELLED)]
        while len(self._jobs) >= most and empty:
            del self._jobs[empty.pop(0)]
        if len(self._jobs) >= most:
            self._refuse(f"{most} jobs run, wait or have a kept result, which is the limit (serve.jobs)")
        if self.nbytes + size > most_bytes:
            self._refuse(
                f"jobs hold {self.nbytes / 2**20:.4g} MiB, and this job would add {size / 2**20:.4g}; allowed are "
                f"{most_bytes / 2**20:.4g} (serve.job_megabytes)"
            )

    def _refuse(self, why: str) -> None:
        ends = [one.ended for one in self._jobs.values() if one.ended is not None]
        free = min(ends) + self._settings.job_kept_seconds - time.monotonic() if ends else _USUAL_WAIT
        busy = Busy(f"{why}; try again later, or delete one that you do not need")
        busy.retry_after = max(1, min(_LONGEST_WAIT, math.ceil(free)))
        raise busy
