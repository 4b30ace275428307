"""Work that outlives its request: begun by one, asked after by others, ended or forgotten in its time.

Jobs run on threads of their own, which give way as those of costly requests do: neither usual requests nor costly ones
wait for them. How many there are, how many bytes they hold and for how long are bounded by `serve.jobs`,
`serve.job_megabytes`, `serve.job_seconds` and `serve.job_kept_seconds`.
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

# Bytes of a job beside what it was given and what was found.
_REST = 8192
# Seconds: of Retry-After, where nothing is known to end before, and at most.
_USUAL_WAIT, _LONGEST_WAIT = 5, 60


@dataclass
class JobRecord(Record):
    """Of the request that begun a job. done, total: runs of the network; None: how many there will be is not known.

    is_over(): whether the service is ending.
    """

    limit: str = "job_seconds"
    done: int = 0
    total: int | None = None
    is_cancelled: bool = False
    is_over: Callable[[], bool] = lambda: False

    def check_client(self, done: int = 0, total: int = 0) -> None:
        """Called between runs of the network. Raises ClientGone where the job is to end."""
        if total:
            self.done, self.total = done, total
        if self.is_cancelled or self.is_over():
            raise ClientGone("the job was cancelled")


@dataclass(eq=False)
class Job:
    """asked: what was asked, and found: what came of it, for who begun it; None once there is nothing to give.

    size: bytes of both. failure: what to tell, of a failed one. started, ended: of time.monotonic().
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
        """For how long it has been at work."""
        if self.started is None:
            return 0.0
        return (self.ended or time.monotonic()) - self.started

    def result(self) -> Any:
        """What was found; of a failed one it is its `failure` that is to be told. Raises NoResult."""
        if self.state == CANCELLED:
            raise NoResult("this job was cancelled; there is no result")
        if self.state != DONE:
            raise NoResult(f"this job is {self.state}; its result is there once it is {DONE}")
        return self.found


class Jobs:
    """Every job there is, by its id, which nobody can guess. Safe to share between threads."""

    def __init__(self, settings: Serve) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._is_over = False

    @property
    def nbytes(self) -> int:
        """What all jobs hold together."""
        return sum(job.size for job in list(self._jobs.values()))

    @property
    def active(self) -> int:
        """How many wait or are at work."""
        return sum(job.ended is None for job in list(self._jobs.values()))

    def counts(self) -> dict[str, int]:
        """How many are in each state."""
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
        """Queue `work(record, until)`, which gives what it found and the bytes of that.

        size: bytes of `asked`. tell: what is to be told of an exception. name: of the request. Raises UnknownJob where
        no jobs are taken, and Busy where there is no room.
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
        """Raises UnknownJob where there is none, or none any more."""
        with self._lock:
            self._forget_old()
            job = self._jobs.get(id)
        if job is None:
            kept = self._settings.job_kept_seconds
            raise UnknownJob(f"there is no such job; one that has ended is forgotten after {kept:g} s")
        return job

    def cancel(self, id: str) -> Job:
        """End a job: one that waits at once, one at work when its network has run; one that has ended is forgotten.

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
        """Forget what has ended long enough ago. To be called about once a second."""
        with self._lock:
            self._forget_old()

    def stop(self) -> None:
        """Every job ends, those at work when their network has run. Takes no lock, as signals come at any time."""
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
        except BaseException as error:  # anybody's network raises anything, and a job would stay "running" for ever
            whole = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self._ended(job, FAILED, failure=tell(whole, job.record))
        else:
            self._ended(job, DONE, found=found, size=size)

    def _ended(self, job: Job, state: str, *, found: Any = None, size: int = 0, failure: Any = None) -> None:
        with self._lock:
            if job.record.is_cancelled:  # as its last network ran
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
        """Where results take more than is allowed, the oldest go."""
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
        """Raises Busy where there is none, once those without a result are forgotten."""
        most, most_bytes = self._settings.jobs, self._settings.job_bytes
        empty = [one.id for one in self._jobs.values() if one.state in (FAILED, CANCELLED)]
        while len(self._jobs) >= most and empty:
            del self._jobs[empty.pop(0)]
        if len(self._jobs) >= most:
            self._refuse(f"{most} jobs are under way or have results that are kept, which is the limit (serve.jobs)")
        if self.nbytes + size > most_bytes:
            self._refuse(
                f"jobs hold {self.nbytes / 2**20:.4g} MiB, this one would add {size / 2**20:.4g}; allowed are "
                f"{most_bytes / 2**20:.4g} (serve.job_megabytes)"
            )

    def _refuse(self, why: str) -> None:
        ends = [one.ended for one in self._jobs.values() if one.ended is not None]
        free = min(ends) + self._settings.job_kept_seconds - time.monotonic() if ends else _USUAL_WAIT
        busy = Busy(f"{why}; try again later, or delete one that you do not need")
        busy.retry_after = max(1, min(_LONGEST_WAIT, math.ceil(free)))
        raise busy
