"""Tensors on the wire, as the Open Inference Protocol has them: JSON lists, or bytes behind the JSON.

https://github.com/kserve/open-inference-protocol, binary tensor data extension: a BYTES element is its length, uint32
little-endian, and its bytes; an FP32 element is float32 little-endian.
"""

import base64
import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from camserve.errors import OptionError, shown
from camserve.images.reading import Source
from camserve.web.bodies import decode_base64, named
from camserve.web.request_options import Text

HEADER = "Inference-Header-Content-Length"
# Numbers of a tensor as JSON; one number takes some twenty bytes there, and more while it is made.
MOST_IN_JSON = 4_000_000

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class InputTensor(BaseModel):
    """The images: base64 in `data`, or `binary_data_size` bytes behind the JSON."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    datatype: Text
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=8)]
    parameters: dict[str, Scalar] = {}
    data: list[Any] | None = None


def images_of(inputs: Sequence[InputTensor], behind: bytes) -> list[Source]:
    """The images of the one input, whatever its name. behind: the bytes that follow the JSON. Raises OptionError."""
    tensor = _only(inputs)
    if tensor.datatype != "BYTES":
        raise OptionError(
            f"input {shown(tensor.name)} is of {shown(tensor.datatype)}; allowed is BYTES, an image file an element"
        )
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        found = _behind(tensor.name, size, behind)
    else:
        found = [decode_base64(text, f"inputs.0.data.{i}") for i, text in enumerate(_flat(tensor.data or []))]
    if not found or len(found) != math.prod(tensor.shape):
        raise OptionError(f"input {shown(tensor.name)} has the shape {tensor.shape} and {len(found)} elements")
    return list(found)


def _behind(name: str, size: Scalar, behind: bytes) -> list[bytes]:
    if size != len(behind):
        raise OptionError(
            f"binary_data_size of input {shown(name)} is {shown(size)}; behind the JSON are {len(behind)} bytes"
        )
    return split_bytes(behind)


def _flat(data: list[Any]) -> Iterator[str]:
    for one in data:
        if isinstance(one, list):
            yield from _flat(one)
        elif isinstance(one, str):
            yield one
        else:
            raise OptionError("the input holds what is no text; give each image in base64, or as binary data")


def _only(inputs: Sequence[InputTensor]) -> InputTensor:
    """The one input, whatever its name. Raises OptionError where there are several."""
    if len(inputs) > 1:
        said = named("input", [one.name for one in inputs])
        raise OptionError(f"the request has {said}; give one, which holds the images and may have any name")
    return inputs[0]


def split_bytes(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor. Raises OptionError where the lengths do not add up."""
    found, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place) if place + 4 <= len(data) else (len(data),)
        if place + 4 + length > len(data):
            raise OptionError("the binary data of the input ends within an element (<uint32 length><bytes>)")
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
