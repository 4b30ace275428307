"""Outgoing answers: bytes that a client does not take at once are kept and sent later, without holding a thread.

Otherwise a client that reads slowly would hold a thread, and a few dozen such clients would hold all.
"""

import socket
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

# A client must take at least this many bytes in each period of this many seconds: 16 KiB a second. Unsent bytes are in
# memory until then.
PACE_BYTES, PACE_SECONDS = 30 * 2**14, 30.0
# A message of the log. Its arguments are in MiB: unsent bytes of the answer, and the limit for all answers together.
GIVEN_UP = (
    "an answer was aborted with %.1f MiB unsent: its client took less than "
    f"{PACE_BYTES // 2**10} KiB in {PACE_SECONDS:g} s, or was the slowest while all answers had more than %g MiB "
    "unsent (serve.unsent_megabytes)"
)
# Most bytes that are sent to one client at once, because one thread sends to all clients.
_PIECE = 2**18


class Outgoing(socket.socket):
    """A client's connection whose sending never waits. taken: the socket that it takes over and detaches.

    unsent: bytes that the client has not taken yet. accepted: bytes that it has taken since the connection began.
    """

    def __init__(self, taken: socket.socket) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        self._left: deque[memoryview] = deque()
        self.unsent = self.accepted = 0

    def sendall(self, data: "bytes | bytearray | memoryview", flags: int = 0) -> None:  # type: ignore[override]
        """Send what the client takes now, and keep the rest for `send_more`. Raises OSError if the client is gone."""
        rest = memoryview(data).cast("B")
        if not self._left:
            rest = rest[self._taken_of(rest) :]
        if rest:
            self._left.append(rest)
            self.unsent += len(rest)

    def send_more(self) -> None:
        """Send as much of the rest as the client takes now, up to a limit. Raises OSError if the client is gone."""
        first = self._left.popleft()
        count = self._taken_of(first[:_PIECE])
        self.unsent -= count
        if count < len(first):
            self._left.appendleft(first[count:])

    def _taken_of(self, data: memoryview) -> int:
        try:
            count = self.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        self.accepted += count
        return count


@dataclass(eq=False)
class Sending:
    """An answer that a client has not taken completely. answered: the future of its request.

    due: time.monotonic() when the current period of `PACE_SECONDS` ends.
    """

    connection: Outgoing
    answered: "Future[object]"
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.due, self._before = self.began + PACE_SECONDS, self.connection.accepted
        self._at_first = self._before

    def is_too_slow(self, now: float) -> bool:
        """Whether the client took too little in the last period. Call this repeatedly."""
        if now < self.due:
            return False
        slow = self.connection.accepted - self._before < PACE_BYTES
        self.due, self._before = now + PACE_SECONDS, self.connection.accepted
        return slow

    def rate(self, now: float) -> float:
        """Bytes per second that the client has taken of this answer."""
        return (self.connection.accepted - self._at_first) / max(now - self.began, 1e-3)


def too_slow(sending: Iterable[Sending], most: int) -> list[Sending]:
    """The answers to abort: first those with too slow clients, then the slowest until at most `most` bytes are unsent.

    The second step never aborts the fastest answer.
    """
    now = time.monotonic()
    given_up, kept = list[Sending](), list[Sending]()
    for one in sending:
        (given_up if one.is_too_slow(now) else kept).append(one)
    held = sum(one.connection.unsent for one in kept)
    for one in sorted(kept, key=lambda one: one.rate(now))[:-1]:
        if held <= most:
            break
        held -= one.connection.unsent
        given_up.append(one)
    return given_up
