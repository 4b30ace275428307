"""Incoming requests: a request gets a thread only after its head and the first bytes of its body have arrived.

Otherwise a client that sends a byte now and then would hold a thread, and a few dozen such clients would hold all.
After the first bytes, a thread reads the body; the gate limits the number of these threads. Behind a proxy that
collects bodies first, these threads do not wait either.
"""

import re
from dataclasses import dataclass, field

from camserve.web.server.chunks import Chunks

# The longest head; a longer one is refused. And the first bytes of a body: after these, a thread reads the rest.
HEAD_BYTES = FIRST_BYTES = 2**16

# These match a head in lower case.
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*(?:\r|$)")
_HEAD_ENDS = b"\r\n\r\n"


@dataclass
class Arriving:
    """A request that is arriving.

    largest: most bytes of a body; larger ones are not read. until: time.monotonic() when the head must have arrived.
    data: the bytes so far. needed: how many bytes must arrive before the request gets a thread; None: the head has not
    ended. has_body: whether a body follows the head. chunks: finds the end of a body in chunks. to_its_end: whether
    `needed` is the whole request.
    """

    largest: int
    until: float
    data: bytearray = field(default_factory=bytearray)
    needed: int | None = None
    has_body: bool = False
    chunks: Chunks | None = None
    to_its_end: bool = False
    _head: int = 0

    def add(self, piece: bytes) -> None:
        """Add bytes that have arrived."""
        searched = max(0, len(self.data) - len(_HEAD_ENDS) + 1)
        self.data += piece
        if self.needed is None and (end := self.data.find(_HEAD_ENDS, searched)) >= 0:
            self._head = end + len(_HEAD_ENDS)
            self.needed = self._head + self._awaited(bytes(self.data[:end]).lower())

    @property
    def here(self) -> bool:
        """Whether enough of the request has arrived."""
        if self.needed is None:
            return False
        return len(self.data) >= self.needed or (self.chunks is not None and self.chunks.over(self.data))

    @property
    def is_head(self) -> bool:
        """Whether the request is a head only, and has arrived."""
        return self.is_whole and not self.has_body

    @property
    def is_whole(self) -> bool:
        """Whether the whole request has arrived, and nothing more."""
        return self.to_its_end and len(self.data) == self.needed

    @property
    def too_long(self) -> bool:
        """Whether the head is too long."""
        return self.needed is None and len(self.data) > HEAD_BYTES

    def _awaited(self, head: bytes) -> int:
        """Bytes of the body to wait for; 0 if it will not be read, or if the client waits for 100-continue."""
        length, coded, chunked = LENGTH.search(head), b"\r\ntransfer-encoding:" in head, _CHUNKED.search(head)
        size = FIRST_BYTES if coded else int(length[1]) if length else 0
        self.has_body = size > 0
        if size > self.largest or b"\r\nexpect:" in head or (coded and (length or not chunked)):
            return 0
        self.chunks = Chunks(self._head) if chunked else None
        self.to_its_end = not coded and size <= FIRST_BYTES
        return min(size, FIRST_BYTES)
