"""The way in: how many bodies are read at once, how many requests wait, and how many hold a decoded image.

A body that is being read holds a thread, once it is known to come (see web/server/incoming.py); a request that was read
holds its bytes; one at work holds an image of up to `limits.megapixels`, several times over while it is turned, painted
and encoded. Each of the three has a bound of its own, which bounds the memory of the process whatever is sent to it.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from camserve.config.schema import Settings
from camserve.errors import Busy, DeadlinePassed, UploadTooSlow
from camserve.system.cores import granted_cores
from camserve.web.request_record import Record

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


class Desks:
    """So many may work; the others wait in line. With a semaphore, who comes just then goes first, and some wait on."""

    def __init__(self, count: int) -> None:
        self._free, self._line = count, deque[threading.Event]()
        self._lock = threading.Lock()

    def take(self, seconds: float) -> bool:
        """Whether there was one within that time."""
        mine = threading.Event()
        with self._lock:
            if self._free:  # then nobody waits
                self._free -= 1
                return True
            self._line.append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if not mine.is_set():  # else it was given in this moment
                self._line.remove(mine)
        return mine.is_set()

    def give_back(self) -> None:
        """To who has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1


class Gate:
    """Admits requests in three steps: `upload` while the body is read, then `turn`, which waits and then works.

    workers: how many threads own the model. At most `places` requests have a turn or wait for one; two for each
    worker hold an image, so that the next is decoded, and the last encoded, while the network runs.
    """

    def __init__(self, settings: Settings) -> None:
        serve = self.settings = settings.serve
        self.largest = settings.limits.max_bytes + ENVELOPE_BYTES
        self.workers = settings.compute.workers or granted_cores()
        self.places = self.workers + (serve.queue or 2 * self.workers + 16)
        self.reading_limit = max(1, int(_READING_SHARE * serve.http_threads))
        self._desks = Desks(2 * self.workers)
        self._lock = threading.Lock()
        self._begun: dict[socket.socket | None, _Upload] = {}
        self._uploads: set[_Upload] = set()
        self.admitted = self.working = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for others to be answered."""
        return self.admitted - self.working

    @property
    def reading(self) -> int:
        """How many bodies are on their way, those that are still awaited included."""
        return len(self._uploads) + len(self._begun)

    def begin(self, connection: socket.socket, accepted: bool) -> None:
        """A body has begun to arrive. accepted: whether it will be read although the service is to end."""
        with self._lock:
            if connection not in self._begun:
                self._begun[connection] = self._new(connection, accepted)

    def forget(self, connection: socket.socket) -> None:
        """What had begun there is over."""
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
    def turn(self, now: Record) -> Iterator[float]:
        """A place in the queue, then room to work; gives the time, of time.monotonic, by which the answer is due.

        Raises Busy at once where the queue is full, ClientGone where nobody waits any more when it is this one's turn,
        DeadlinePassed where the time passes inside or before.
        """
        allowed = self.settings.deadline_seconds
        until = time.monotonic() + allowed
        with self._lock:
            self._check_places()
            self.admitted += 1
        try:
            with now.timing("queue"):
                started = self._desks.take(allowed)
            if not started:
                raise DeadlinePassed
            try:
                self._count(1)
                now.check_client()
                yield until
            finally:
                self._count(-1)
                self._desks.give_back()
        except DeadlinePassed:
            raise DeadlinePassed(f"no answer within {allowed:g} s, waiting included (serve.deadline_seconds)") from None
        finally:
            with self._lock:
                self.admitted -= 1

    def refusal(self) -> Busy | None:
        """Why a body that has just begun will not be read; None where it will."""
        if self.admitted < self.places:
            return None
        return Busy(f"{self.places} requests are under way, which is the limit (serve.queue); try again shortly")

    def _check_places(self) -> None:
        if busy := self.refusal():
            raise busy

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
