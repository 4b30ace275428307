"""Tensors on the wire, as the Open Inference Protocol has them: JSON lists, or bytes behind the JSON.

https://github.com/kserve/open-inference-protocol, binary tensor data extension: a BYTES element is its length, uint32
little-endian, and its bytes; an FP32 element is float32 little-endian.
"""

import base64
import json
import struct
from collections.abc import Sequence
from typing import Any

from camserve.errors import OptionError

HEADER = "Inference-Header-Content-Length"
# Numbers of a tensor as JSON; one number takes some twenty bytes there, and more while it is made.
MOST_IN_JSON = 4_000_000


def split_bytes(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor. Raises OptionError where the lengths do not add up."""
    found, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place) if place + 4 <= len(data) else (len(data),)
        if place + 4 + length > len(data):
            raise OptionError("the binary data of input 'image' ends within an element (<uint32 length><bytes>)")
        found.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return found


def encoded(name: str, tensor: Any, binary: bool) -> tuple[dict[str, Any], bytes]:
    """One output: its entry in the JSON, and the bytes that follow, b"" where `binary` is not asked for.

    tensor: a list of bytes, or a float32 array.
    """
    is_bytes = isinstance(tensor, list)
    shape = [len(tensor)] if is_bytes else list(tensor.shape)
    entry: dict[str, Any] = {"name": name, "datatype": "BYTES" if is_bytes else "FP32", "shape": shape}
    if binary:
        data = _joined(tensor) if is_bytes else tensor.astype("<f4").tobytes()
        return {**entry, "parameters": {"binary_data_size": len(data)}}, data
    return {**entry, "data": _listed(name, tensor)}, b""


def body_of(answer: dict[str, Any], outputs: Sequence[tuple[dict[str, Any], bytes]]) -> tuple[bytes, int | None]:
    """The bytes of an answer, and how many of them are JSON; None: all."""
    head = json.dumps({**answer, "outputs": [entry for entry, _ in outputs]}, allow_nan=False).encode()
    is_binary = any("parameters" in entry for entry, _ in outputs)
    return b"".join([head, *(data for _, data in outputs)]), len(head) if is_binary else None


def _joined(elements: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def _listed(name: str, tensor: Any) -> list[Any]:
    if isinstance(tensor, list):
        return [base64.b64encode(one).decode() for one in tensor]
    if tensor.size > MOST_IN_JSON:
        raise OptionError(
            f"output '{name}' has {tensor.size} numbers, too many for JSON; allowed are {MOST_IN_JSON}. "
            'Ask for it with "parameters": {"binary_data": true}, or name the other outputs only'
        )
    # JSON has no word for what is not a number: where the model saw nothing, there is null
    return [None if value != value else value for value in tensor.ravel().tolist()]
