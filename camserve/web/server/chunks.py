"""Where a body in chunks ends (RFC 9112, section 7.1), found while it comes; and how many of them are read."""

import re
from collections.abc import Iterator
from typing import Any

from camserve.errors import TooMuch

# Chunks and lines of a trailer that are followed: this runs on the one thread that waits for all connections, and
# 64 KiB may be ten thousand chunks of a byte.
_FOLLOWED = 1000
# Bytes of the line before a chunk; as gunicorn has it.
_LINE = 8190
# Chunks of a body, which take 3 microseconds each; the largest body in pieces of 512 bytes.
MOST_CHUNKS = 50_000
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Chunks:
    """start: the place in the data where the first chunk begins.

    Nothing is looked at twice, and no chunk's own bytes are: what they hold may look like an end.
    """

    def __init__(self, start: int) -> None:
        self._place = self._searched = start
        self._count = 0
        self._behind_chunk = self._in_trailer = self._over = False

    def over(self, data: bytearray) -> bool:
        """Whether nothing more is to be awaited: all is in `data`, it is no such body, or it is too much to follow.

        data: what it was the last time, and what has come since.
        """
        while not self._over and (self._end_of_chunk(data) if self._behind_chunk else self._line(data)):
            pass
        return self._over

    def _end_of_chunk(self, data: bytearray) -> bool:
        """Whether the line end behind a chunk is here, or something else, with which all is over."""
        found = bytes(data[self._place : self._place + 2])
        self._over = not b"\r\n".startswith(found)
        if len(found) == 2:
            self._go_to(self._place + 2)
        return len(found) == 2

    def _line(self, data: bytearray) -> bool:
        """Whether a whole line is here: the size of a chunk, or of the trailer."""
        end = data.find(b"\r\n", self._searched)
        if end < 0:
            self._searched = max(self._searched, len(data) - 1)  # half a line end may be there
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
    """Have `body`, gunicorn's, end with TooMuch where it comes in more than MOST_CHUNKS; others are left alone."""
    reader: Any = getattr(body, "reader", None)
    if getattr(reader, "parser", None) is not None:
        reader.parser = _limited(reader.parser)


def _limited(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for count, piece in enumerate(pieces):
        if count >= MOST_CHUNKS:
            raise TooMuch(
                f"the body comes in more than {MOST_CHUNKS} chunks, which is the limit; send it in larger ones"
            )
        yield piece
