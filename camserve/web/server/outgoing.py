"""Answers on their way out: what a client does not take at once waits for it, and holds no thread meanwhile.

A client that reads slowly would hold the thread that sends to it, and a few dozen of those would hold all.
"""

import socket
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

# A client has to take so many bytes in so many seconds, and again in the next ones: 16 KiB a second. What it has asked
# for is held in memory until then.
PACE_BYTES, PACE_SECONDS = 30 * 2**14, 30.0
# In the log. Of the answer, and of all answers together: 2^20 bytes.
GIVEN_UP = (
    "an answer is given up with %.1f MiB unsent: its client took less than "
    f"{PACE_BYTES // 2**10} KiB in {PACE_SECONDS:g} s, or was the slowest while all answers had more than %g MiB "
    "unsent (serve.unsent_megabytes)"
)
# Bytes that are sent to one client at once, so that each gets its share of the one thread that sends.
_PIECE = 2**18


class Outgoing(socket.socket):
    """A client's connection that never waits to send. taken: the socket it takes over, which is detached.

    unsent: bytes that the client has not taken yet. accepted: those that it has, since the connection began.
    """

    def __init__(self, taken: socket.socket) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        self._left: deque[memoryview] = deque()
        self.unsent = self.accepted = 0

    def sendall(self, data: "bytes | bytearray | memoryview", flags: int = 0) -> None:  # type: ignore[override]
        """Send what is taken at once, and keep the rest for `send_more`. Raises OSError where the client has gone."""
        rest = memoryview(data).cast("B")
        if not self._left:
            rest = rest[self._taken_of(rest) :]
        if rest:
            self._left.append(rest)
            self.unsent += len(rest)

    def send_more(self) -> None:
        """Send of what is left as much as is taken now, up to some. Raises OSError where the client has gone."""
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
    """An answer that a client has not taken yet. answered: what became of its request.

    Of `PACE_SECONDS` each: due: when they end, by time.monotonic(); accepted: what the client had taken before.
    """

    connection: Outgoing
    answered: "Future[object]"
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.due, self._before = self.began + PACE_SECONDS, self.connection.accepted
        self._at_first = self._before

    def is_too_slow(self, now: float) -> bool:
        """Whether the client has taken less than it has to. To be asked again and again."""
        if now < self.due:
            return False
        slow = self.connection.accepted - self._before < PACE_BYTES
        self.due, self._before = now + PACE_SECONDS, self.connection.accepted
        return slow

    def rate(self, now: float) -> float:
        """Bytes a second that the client has taken of it."""
        return (self.connection.accepted - self._at_first) / max(now - self.began, 1e-3)


def too_slow(sending: Iterable[Sending], most: int) -> list[Sending]:
    """Those to give up: who takes too little; then the slowest but for one, until all have at most `most` unsent."""
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
