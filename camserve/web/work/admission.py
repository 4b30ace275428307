"""Admission of requests: limits how many bodies are read at once, how many requests wait, and how many hold an image.

Reading a body takes a thread (see web/server/incoming.py). A waiting request holds its bytes. A running request holds a
decoded image, several times while it is rotated, painted and encoded. Each of the three has its own limit, so the
memory of the process is limited, whatever clients send.

Costly requests (see web/work/pricing.py) have their own lane with few places, so there is always room for others.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from camserve.config.schema import Settings
from camserve.errors import Busy, DeadlinePassed, UploadTooSlow
from camserve.system.cores import granted_cores
from camserve.system.deadlines import within
from camserve.web.request_record import Record
from camserve.web.work.desks import Desks, Lane

# The share of `serve.http_threads` that may read bodies. The others answer quick requests, such as health checks.
_READING_SHARE = 0.75
# What a form may add to the image: boundaries, part headers, options.
ENVELOPE_BYTES = 64 * 1024


@dataclass(eq=False)
class _Upload:
    """A body that is being read. accepted: whether it began before the shutdown. cut: whether it took too long."""

    connection: socket.socket | None
    until: float
    accepted: bool = False
    cut: bool = False


class Gate:
    """Admits requests in two steps: `upload` while the body is read, then `turn`, which waits and then works.

    workers: the number of threads that run the model. At most `places` requests run or wait. Two requests per worker
    may hold an image, so that one is decoded or encoded while the network runs for another. At most half of the places
    are for costly requests, of which `costly_workers` run at once.
    """

    def __init__(self, settings: Settings) -> None:
        serve = self.settings = settings.serve
        self.largest = settings.limits.max_bytes + ENVELOPE_BYTES
        self.workers = settings.compute.workers or granted_cores()
        self.places = self.workers + (serve.queue or 2 * self.workers + 16)
        self.reading_limit = max(1, int(_READING_SHARE * serve.http_threads))
        self.costly_workers = max(1, self.workers // 2)
        self._usual = Lane(Desks(2 * self.workers))
        self._costly = Lane(Desks(self.costly_workers))
        self._lock = threading.Lock()
        self._begun: dict[socket.socket | None, _Upload] = {}
        self._uploads: set[_Upload] = set()
        self.working, self._active = 0, time.monotonic()

    @property
    def admitted(self) -> int:
        """The number of requests that run or wait."""
        return self._usual.admitted + self._costly.admitted

    @property
    def costly(self) -> int:
        """The number of costly requests that run or wait."""
        return self._costly.admitted

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return self.admitted - self.working

    @property
    def reading(self) -> int:
        """The number of bodies that are arriving or being read."""
        return len(self._uploads) + len(self._begun)

    def idle_seconds(self) -> float:
        """Seconds since the last request was read, explained or answered."""
        return 0.0 if self.admitted or self.reading else time.monotonic() - self._active

    def begin(self, connection: socket.socket, accepted: bool) -> None:
        """Note that a body has begun to arrive. accepted: whether it will be read even during shutdown."""
        with self._lock:
            if connection not in self._begun:
                self._begun[connection] = self._new(connection, accepted)

    def forget(self, connection: socket.socket) -> None:
        """Note that the request of this connection is over."""
        self._active = time.monotonic()
        with self._lock:
            self._begun.pop(connection, None)

    def has_accepted(self, connection: socket.socket | None) -> bool:
        """Whether a body began to arrive on this connection before the shutdown."""
        begun = self._begun.get(connection)
        return begun is not None and begun.accepted

    def _new(self, connection: socket.socket | None, accepted: bool = False) -> _Upload:
        return _Upload(connection, time.monotonic() + self.settings.upload_seconds, accepted)

    @contextmanager
    def upload(self, connection: socket.socket | None) -> Iterator[None]:
        """A context in which a body is read from `connection`.

        Raises Busy at once if the queue is full or too many bodies are being read, and UploadTooSlow if
        `cut_slow_uploads` ended this one.
        """
        with self._lock:
            mine = self._begun.pop(connection, None) or self._new(connection)
            if not mine.cut:
                self._check_places()
                self._check_uploads()
            self._uploads.add(mine)
        try:
            yield
        finally:
            with self._lock:
                self._uploads.discard(mine)
            if mine.cut:  # whatever error the reader raised
                raise UploadTooSlow(
                    f"the body did not arrive within {self.settings.upload_seconds:g} s (serve.upload_seconds). "
                    "Try a smaller copy, or JPEG."
                ) from None

    def cut_slow_uploads(self) -> None:
        """End uploads that take longer than `serve.upload_seconds`. Call this about once a second.

        A thread that is blocked in reading cannot check the time, and a client that sends a byte now and then never
        reaches a timeout of the socket.
        """
        now = time.monotonic()
        with self._lock:
            for upload in (*self._uploads, *self._begun.values()):
                if now > upload.until and upload.connection is not None and not upload.cut:
                    upload.cut = True
                    _stop_reading(upload.connection)

    @contextmanager
    def loading(self) -> Iterator[float]:
        """A place in the costly lane while a request waits for a model to load.

        Yields time.monotonic() when the answer is due. Raises Busy at once if the lane is full.
        """
        until = time.monotonic() + self.settings.deadline_seconds
        with self._place(self._costly):
            yield until

    @contextmanager
    def _place(self, lane: Lane) -> Iterator[None]:
        with self._lock:
            self._check_places(lane)
            lane.admitted += 1
        try:
            yield
        finally:
            with self._lock:
                lane.admitted -= 1
                self._active = time.monotonic()

    @contextmanager
    def turn(self, now: Record, *, costly: bool = False, until: float | None = None) -> Iterator[float]:
        """Wait for a turn, then work inside the context. Yields time.monotonic() when the answer is due.

        until: that time, if it is already fixed. Raises Busy at once if the queue is full, ClientGone if the client is
        gone when the turn comes, and DeadlinePassed if the time passes while waiting or working.
        """
        allowed = self.settings.deadline_seconds
        until, lane = until or time.monotonic() + allowed, self._costly if costly else self._usual
        with self._place(lane):
            try:
                with now.timing("queue"):
                    started = lane.desks.take(max(0, until - time.monotonic()))
                if not started:
                    raise DeadlinePassed
                try:
                    self._count(1)
                    now.check_client()
                    with within(until):
                        yield until
                finally:
                    self._count(-1)
                    lane.desks.give_back()
            except DeadlinePassed:
                raise DeadlinePassed(
                    f"no answer within {allowed:g} s, waiting included (serve.deadline_seconds)"
                ) from None

    def refusal(self) -> Busy | None:
        """The error for a body that will not be read, because the queue is full; None if it will be read."""
        if self.admitted < self.places:
            return None
        return Busy(f"{self.places} requests are in progress, which is the limit (serve.queue); try again shortly")

    def _check_places(self, lane: Lane | None = None) -> None:
        if busy := self.refusal():
            raise busy
        most = max(1, self.places // 2)
        if lane is self._costly and lane.admitted >= most:
            raise Busy(
                f"{most} costly requests are in progress, which is the limit (half of serve.queue and workers); "
                "try again shortly, or ask for less"
            )

    def _check_uploads(self) -> None:
        limit = self.reading_limit
        if len(self._uploads) >= limit:
            raise Busy(f"{limit} uploads are in progress, which is the limit (serve.http_threads); try again shortly")

    def _count(self, change: int) -> None:
        with self._lock:
            self.working += change


def _stop_reading(connection: socket.socket) -> None:
    with suppress(OSError):  # the client is gone
        connection.shutdown(socket.SHUT_RD)
