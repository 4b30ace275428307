"""A request on its way in, until it is known to come: not before then does it get a thread.

A client that sends a byte now and then would hold a thread that waits for it, and a few dozen of those would hold all.
After its first bytes a body is read by a thread, of which the gate gives out so many; a proxy that collects bodies
first spares these, too.
"""

import re
from dataclasses import dataclass, field

from camserve.web.server.chunks import Chunks

# Of a head; what has not ended by then is refused. Of a body: who has sent so much will send the rest.
HEAD_BYTES = FIRST_BYTES = 2**16

# In the head in lower case.
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*(?:\r|$)")
_HEAD_ENDS = b"\r\n\r\n"


@dataclass
class Arriving:
    """largest: bytes of a body that is read at all. until: time.monotonic() by which the head has to be here.

    data: what has come. needed: how much has to come before the request gets a thread; None: the head has not ended.
    has_body: whether there is more than a head; chunks: where it is in chunks, what looks for their end. to_its_end:
    whether what is needed is all that there is.
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
        """What has come since."""
        searched = max(0, len(self.data) - len(_HEAD_ENDS) + 1)
        self.data += piece
        if self.needed is None and (end := self.data.find(_HEAD_ENDS, searched)) >= 0:
            self._head = end + len(_HEAD_ENDS)
            self.needed = self._head + self._awaited(bytes(self.data[:end]).lower())

    @property
    def here(self) -> bool:
        """Whether enough of it is."""
        if self.needed is None:
            return False
        return len(self.data) >= self.needed or (self.chunks is not None and self.chunks.over(self.data))

    @property
    def is_head(self) -> bool:
        """Whether a whole head is here, and nothing but that is to come."""
        return self.is_whole and not self.has_body

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here, and nothing else."""
        return self.to_its_end and len(self.data) == self.needed

    @property
    def too_long(self) -> bool:
        """Whether the head is."""
        return self.needed is None and len(self.data) > HEAD_BYTES

    def _awaited(self, head: bytes) -> int:
        """Bytes of the body to wait for: none where it will not be read, or is sent only when asked for."""
        length, coded, chunked = LENGTH.search(head), b"\r\ntransfer-encoding:" in head, _CHUNKED.search(head)
        size = FIRST_BYTES if coded else int(length[1]) if length else 0
        self.has_body = size > 0
        if size > self.largest or b"\r\nexpect:" in head or (coded and (length or not chunked)):
            return 0
        self.chunks = Chunks(self._head) if chunked else None
        self.to_its_end = not coded and size <= FIRST_BYTES
        return min(size, FIRST_BYTES)
