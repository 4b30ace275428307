"""JSON in pieces: what is large in an answer is made a piece at a time, and never put together.

While json or base64 works on one value, no other thread runs Python: an answer of 270 MB in one piece would stop health
checks for a second, and be in memory four times.
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

# Bytes that are encoded at once, in threes so that base64 needs no filling in between; and numbers.
_BYTES, _NUMBERS = 3 * 2**16, 2**12


@dataclass(frozen=True)
class Large:
    """A value of an answer, as the pieces of its JSON."""

    pieces: Iterable[bytes]


def in_base64(data: Iterable[bytes]) -> Large:
    """Bytes, in whatever pieces, as a string in base64."""
    return Large(_quoted(data))


def in_numbers(values: "npt.NDArray[np.float32]") -> Large:
    """An array as one flat list; null stands for what is not finite, as JSON has no other word for it."""
    return Large(_listed(values))


def json_pieces(body: Any) -> list[bytes]:
    """`body`, in which there may be `Large` values, as JSON. Raises DeadlinePassed, ValueError for NaN elsewhere."""
    large, mark = list[Large](), secrets.token_hex(16)

    def place(value: object) -> str:
        if not isinstance(value, Large):
            raise TypeError(f"{type(value).__name__} is no value of JSON")
        large.append(value)
        return mark

    between = [text.encode() for text in json.dumps(body, allow_nan=False, default=place).split(f'"{mark}"')]
    found = between[:1]
    for value, text in zip(large, between[1:], strict=True):
        found += [*value.pieces, text]
    return found


def json_response(body: Any) -> Response:
    """`body` as an answer. Raises as `json_pieces`."""
    return Response(json_pieces(body), content_type=JSON)


def _quoted(data: Iterable[bytes]) -> Iterator[bytes]:
    yield b'"'
    for piece in _in_threes(data):
        check_deadline()
        yield b64encode(piece)
    yield b'"'


def _in_threes(data: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of `_BYTES`, but for the last."""
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
