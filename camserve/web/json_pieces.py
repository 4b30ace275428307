"""JSON in pieces: large values of an answer are encoded piece by piece, and never joined.

While json or base64 works on one value, no other thread runs Python. An answer of 270 MB in one piece would stop health
checks for a second, and would be in memory four times.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Response

from camserve.system.deadlines import check_deadline
from camserve.web.operations import JSON

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Bytes and numbers that are encoded at once. The bytes are a multiple of 3, so that base64 needs no padding between.
_BYTES, _NUMBERS = 3 * 2**16, 2**12


@dataclass(frozen=True)
class Large:
    """A large value of an answer, as pieces of JSON."""

    pieces: Iterable[bytes]


def in_base64(data: Iterable[bytes]) -> Large:
    """A string in base64, from bytes in pieces of any size."""
    return Large(_quoted(data))


def in_numbers(values: "npt.NDArray[np.float32]") -> Large:
    """A flat list of the numbers of an array. Numbers that are not finite become null, as JSON cannot hold them."""
    return Large(_listed(values))


def json_pieces(body: Any) -> list[bytes]:
    """The JSON of `body`, which may contain `Large` values. Raises DeadlinePassed, and ValueError for NaN elsewhere."""
    large, mark = list[Large](), secrets.token_hex(16)

    def place(value: object) -> str:
        if not isinstance(value, Large):
            raise TypeError(f"{type(value).__name__} is not a JSON value")
        large.append(value)
        return mark

    between = [text.encode() for text in json.dumps(body, allow_nan=False, default=place).split(f'"{mark}"')]
    found = between[:1]
    for value, text in zip(large, between[1:], strict=True):
        found += [*value.pieces, text]
    return found


def json_response(body: Any) -> Response:
    """A response with the JSON of `body`. Raises the errors of `json_pieces`."""
    return Response(json_pieces(body), content_type=JSON)


def _quoted(data: Iterable[bytes]) -> Iterator[bytes]:
    yield b'"'
    for piece in _in_threes(data):
        check_deadline()
        yield b64encode(piece)
    yield b'"'


def _in_threes(data: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of `_BYTES`; the last may be shorter."""
    held = bytearray()
    for piece in data:
        held += piece
        whole = len(held) - len(held) % _BYTES
        yield from (bytes(held[at : at + _BYTES]) for at in range(0, whole, _BYTES))
        del held[:whole]
    yield bytes(held)


def _listed(values: "npt.NDArray[np.float32]") -> Iterator[bytes]:
    import numpy as np

    flat = values.ravel()
    yield b"["
    for at in range(0, flat.size, _NUMBERS):
        check_deadline()
        part = flat[at : at + _NUMBERS]
        some: list[float | None] = part.tolist()
        if not np.isfinite(part).all():
            some = [one if known else None for one, known in zip(some, np.isfinite(part).tolist(), strict=True)]
        yield (b", " if at else b"") + json.dumps(some).encode()[1:-1]
    yield b"]"
