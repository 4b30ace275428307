"""Compressed bodies, which are decompressed up to a limit of bytes."""

import io
import zlib
from typing import IO

from camserve.errors import BodyTooLarge, OptionError

# zlib's wbits for each coding (RFC 9110, section 8.4.1).
CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# Bytes of a body that are read at once.
_PIECE = 2**16


class Inflated(io.RawIOBase):
    """The bytes inside a compressed stream. coding: a key of CODINGS. most: largest allowed number of bytes.

    Reading raises BodyTooLarge at the first byte beyond `most`, and OptionError if the stream is not of that coding,
    ends early or continues after its end.
    """

    def __init__(self, stream: IO[bytes], coding: str, most: int) -> None:
        self._stream, self._coding, self._left, self._most = stream, coding, most, most
        self._inside = zlib.decompressobj(CODINGS[coding])

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Read at least one byte into `buffer`, unless the stream has ended. Returns the number of bytes."""
        data = b""
        while not data and not self._inside.eof:
            data = self._next(len(buffer))
        if self._inside.eof and (self._inside.unused_data or (not data and self._stream.read(1))):
            raise OptionError(f"the body continues after the end of its {self._coding} data (Content-Encoding)")
        self._left -= len(data)
        if self._left < 0:
            raise BodyTooLarge(
                f"the body, decompressed, has more than {self._most / 2**20:.4g} MiB, which is the limit "
                "(limits.body_megabytes). Try a smaller copy, or JPEG."
            )
        buffer[: len(data)] = data
        return len(data)

    def _next(self, most: int) -> bytes:
        given = self._inside.unconsumed_tail or self._stream.read(_PIECE)
        try:
            data = self._inside.decompress(given, most)
        except zlib.error as error:
            raise OptionError(f"the body is not valid {self._coding} data (Content-Encoding): {error}") from None
        if not given and not data and not self._inside.eof:
            raise OptionError(f"the {self._coding} data of the body ends early (Content-Encoding)")
        return data
