"""The way in: how many bodies are read at once, how many requests wait, and how many hold a decoded image.

A body that is being read holds a thread, once it is known to come (see web/server/incoming.py); a request that was read
holds its bytes; one at work holds an image, several times over while it is turned, painted and encoded. Each of the
three has a bound of its own, which bounds the memory of the process whatever is sent to it.

Costly requests (see web/work/pricing.py) have a lane of their own: few of them wait, fewer are at work, and so there is
always room for the others.
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

# Of `serve.http_threads`, the share that may be reading bodies; the others answer what is quick, such as health checks.
_READING_SHARE = 0.75
# What a form may add to the image: boundaries, part headers, options.
ENVELOPE_BYTES = 64 * 1024


@dataclass(eq=False)
class _Upload:
    """accepted: whether it began before the service was asked to end. cut: whether it took too long."""

    connection: socket.socket | None
    until: float
    accepted: bool = False
    cut: bool = False


class Gate:
    """Admits requests in three steps: `upload` while the body is read, then `turn`, which waits and then works.

    workers: how many threads own the model. At most `places` requests have a turn or wait for one; two for each
    worker hold an image, so that the next is decoded, and the last encoded, while the network runs. Of costly requests
    at most half as many wait, and `costly_workers` are at work.
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
        """How many requests have a turn or wait for one."""
        return self._usual.admitted + self._costly.admitted

    @property
    def costly(self) -> int:
        """How many of them are costly."""
        return self._costly.admitted

    @property
    def waiting(self) -> int:
        """How many requests wait for others to be answered."""
        return self.admitted - self.working

    @property
    def reading(self) -> int:
        """How many bodies are on their way, those that are still awaited included."""
        return len(self._uploads) + len(self._begun)

    def idle_seconds(self) -> float:
        """For how long nothing has been read, explained or sent."""
        return 0.0 if self.admitted or self.reading else time.monotonic() - self._active

    def begin(self, connection: socket.socket, accepted: bool) -> None:
        """A body has begun to arrive. accepted: whether it will be read although the service is to end."""
        with self._lock:
            if connection not in self._begun:
                self._begun[connection] = self._new(connection, accepted)

    def forget(self, connection: socket.socket) -> None:
        """What had begun there is over: it has been read, or sent, or has broken off."""
        self._active = time.monotonic()
        with self._lock:
            self._begun.pop(connection, None)

    def has_accepted(self, connection: socket.socket | None) -> bool:
        """Whether a body began there before the service was asked to end."""
        begun = self._begun.get(connection)
        return begun is not None and begun.accepted

    def _new(self, connection: socket.socket | None, accepted: bool = False) -> _Upload:
        return _Upload(connection, time.monotonic() + self.settings.upload_seconds, accepted)

    @contextmanager
    def upload(self, connection: socket.socket | None) -> Iterator[None]:
        """While a body is read from `connection`.

        Raises Busy at once, where the queue is full anyway or too many are being read; UploadTooSlow where
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
            if mine.cut:  # whatever the reader made of it
                raise UploadTooSlow(
                    f"the body did not arrive within {self.settings.upload_seconds:g} s (serve.upload_seconds). "
                    "Try a smaller copy, or JPEG."
                ) from None

    def cut_slow_uploads(self) -> None:
        """End what takes longer than `serve.upload_seconds`. To be called about once a second.

        A thread blocked in reading cannot look at a clock, and a client that sends a byte now and then outlives any
        timeout of the socket.
        """
        now = time.monotonic()
        with self._lock:
            for upload in (*self._uploads, *self._begun.values()):
                if now > upload.until and upload.connection is not None and not upload.cut:
                    upload.cut = True
                    _stop_reading(upload.connection)

    @contextmanager
    def loading(self) -> Iterator[float]:
        """A place among those of costly requests while a model is awaited, which is no work of a request's own.

        Gives the time, of time.monotonic, by which the answer is due. Raises Busy at once where they are taken.
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
        """A place in the queue, then room to work; gives the time, of time.monotonic, by which the answer is due.

        until: that time, where it was begun before. Raises Busy at once where the queue is full, ClientGone where
        nobody waits any more when it is this one's turn, DeadlinePassed where the time passes inside or before.
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
        """Why a body that has just begun will not be read; None where it will."""
        if self.admitted < self.places:
            return None
        return Busy(f"{self.places} requests are under way, which is the limit (serve.queue); try again shortly")

    def _check_places(self, lane: Lane | None = None) -> None:
        if busy := self.refusal():
            raise busy
        most = max(1, self.places // 2)
        if lane is self._costly and lane.admitted >= most:
            raise Busy(
                f"{most} costly requests are under way, which is the limit (half of serve.queue and workers); "
                "try again shortly, or ask for less"
            )

    def _check_uploads(self) -> None:
        limit = self.reading_limit
        if len(self._uploads) >= limit:
            raise Busy(f"{limit} uploads are under way, which is the limit (serve.http_threads); try again shortly")

    def _count(self, change: int) -> None:
        with self._lock:
            self.working += change


def _stop_reading(connection: socket.socket) -> None:
    with suppress(OSError):  # gone already
        connection.shutdown(socket.SHUT_RD)
