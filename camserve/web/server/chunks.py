"""Finds the end of a body in chunks (RFC 9112, section 7.1) while it arrives, and limits the number of chunks."""

import re
from collections.abc import Iterator
from typing import Any

from camserve.errors import TooMuch

# Most chunks and trailer lines to follow: this runs on the one thread that waits for all connections, and 64 KiB may be
# ten thousand chunks of one byte.
_FOLLOWED = 1000
# Most bytes of the line before a chunk; gunicorn has the same limit.
_LINE = 8190
# Most chunks of a body. Each takes 3 microseconds. This is enough for the largest body in chunks of 512 bytes.
MOST_CHUNKS = 50_000
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Chunks:
    """Follows the chunks of a body. start: where the first chunk begins in the data.

    Every byte is read at most once. The content of chunks is skipped, because it may look like an end.
    """

    def __init__(self, start: int) -> None:
        self._place = self._searched = start
        self._count = 0
        self._behind_chunk = self._in_trailer = self._over = False

    def over(self, data: bytearray) -> bool:
        """Whether to stop waiting: `data` is complete, is not valid, or has too many chunks to follow.

        data: the data of the last call, and the bytes that have arrived since.
        """
        while not self._over and (self._end_of_chunk(data) if self._behind_chunk else self._line(data)):
            pass
        return self._over

    def _end_of_chunk(self, data: bytearray) -> bool:
        """Whether two bytes have arrived behind a chunk. If they are not a line end, the body is over."""
        found = bytes(data[self._place : self._place + 2])
        self._over = not b"\r\n".startswith(found)
        if len(found) == 2:
            self._go_to(self._place + 2)
        return len(found) == 2

    def _line(self, data: bytearray) -> bool:
        """Whether a whole line has arrived: the size of a chunk, or a line of the trailer."""
        end = data.find(b"\r\n", self._searched)
        if end < 0:
            self._searched = max(self._searched, len(data) - 1)  # half of a line end may have arrived
            self._over = len(data) - self._place > _LINE
            return False
        line = bytes(data[self._place : end])
        self._count += 1
        self._go_to(end + 2)
        if self._in_trailer:
            self._over = not line
        elif found := _SIZE.fullmatch(line):
            size = int(found[1], 16)
            self._behind_chunk, self._in_trailer = size > 0, size == 0
            self._place += size
        else:
            self._over = True
        self._over |= self._count > _FOLLOWED
        return True

    def _go_to(self, place: int) -> None:
        self._place = self._searched = place
        self._behind_chunk = False


def limit_chunks(body: Any) -> None:
    """Make gunicorn's `body` raise TooMuch after MOST_CHUNKS chunks. Bodies without chunks are not changed."""
    reader: Any = getattr(body, "reader", None)
    if getattr(reader, "parser", None) is not None:
        reader.parser = _limited(reader.parser)


def _limited(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for count, piece in enumerate(pieces):
        if count >= MOST_CHUNKS:
            raise TooMuch(f"the body has more than {MOST_CHUNKS} chunks, which is the limit; send larger chunks")
        yield piece
