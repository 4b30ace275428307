"""Tensors on the wire, as the Open Inference Protocol has them: JSON lists, or bytes behind the JSON.

https://github.com/kserve/open-inference-protocol, binary tensor data extension: a BYTES element is its length, uint32
little-endian, and its bytes; an FP32 element is float32 little-endian.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from camserve.errors import OptionError, shown
from camserve.images.reading import Source
from camserve.web.bodies import check_images, decode_base64, emptied, named
from camserve.web.json_pieces import Large, in_base64, in_numbers, json_pieces
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
    shape: Annotated[list[Annotated[StrictInt, Field(ge=0, lt=2**31)]], Field(max_length=8)]
    parameters: dict[str, Scalar] = {}
    data: list[Any] | None = None


def images_of(inputs: Sequence[InputTensor], behind: bytes) -> list[Source]:
    """The images of the one input, whatever its name, whose data is emptied. behind: the bytes that follow the JSON.

    Raises OptionError, TooMuch.
    """
    tensor = _only(inputs)
    if tensor.datatype != "BYTES":
        raise OptionError(
            f"input {shown(tensor.name)} is of {shown(tensor.datatype)}; allowed is BYTES, an image file an element"
        )
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        found = _behind(tensor.name, size, behind)
    else:
        texts = list(_flat(tensor.data or []))
        check_images(len(texts))
        found = [decode_base64(text, f"inputs.0.data.{i}") for i, text in enumerate(emptied(texts))]
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
    for one in emptied(data):
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
    """The elements of a BYTES tensor. Raises OptionError where the lengths do not add up, TooMuch."""
    found, place = list[bytes](), 0
    while place < len(data):
        check_images(len(found) + 1)
        (length,) = struct.unpack_from("<I", data, place) if place + 4 <= len(data) else (len(data),)
        if place + 4 + length > len(data):
            raise OptionError("the binary data of the input ends within an element (<uint32 length><bytes>)")
        found.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return found


def encoded(name: str, rows: list[Any], binary: bool) -> tuple[dict[str, Any], list[bytes]]:
    """One output: its entry in the JSON, for `json_pieces`, and the bytes that follow; none where not `binary`.

    rows: of each image its bytes, or a float32 array. Raises OptionError where they are of different sizes, or too many
    for JSON.
    """
    is_bytes = isinstance(rows[0], bytes)
    shape = [len(rows)] if is_bytes else [len(rows), *_one_shape(name, rows)]
    entry: dict[str, Any] = {"name": name, "datatype": "BYTES" if is_bytes else "FP32", "shape": shape}
    if binary:
        data = _joined(rows) if is_bytes else [row.astype("<f4", copy=False).tobytes() for row in rows]
        return {**entry, "parameters": {"binary_data_size": sum(map(len, data))}}, data
    return {**entry, "data": [in_base64([one]) for one in rows] if is_bytes else _listed(name, rows)}, []


def body_of(answer: dict[str, Any], outputs: Sequence[tuple[dict[str, Any], list[bytes]]]) -> tuple[list[bytes], int]:
    """The pieces of an answer, and how many bytes of them are JSON."""
    head = json_pieces({**answer, "outputs": [entry for entry, _ in outputs]})
    return head + [piece for _, data in outputs for piece in data], sum(map(len, head))


def _joined(elements: Sequence[bytes]) -> list[bytes]:
    return [part for one in elements for part in (struct.pack("<I", len(one)), one)]


def _one_shape(name: str, rows: list[Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = rows[0].shape
    if any(row.shape != shape for row in rows):
        raise OptionError(f"the images differ in size, so '{name}' is no tensor; send one, or ask for other outputs")
    return shape


def _listed(name: str, rows: list[Any]) -> Large:
    import numpy as np

    if (count := sum(row.size for row in rows)) > MOST_IN_JSON:
        raise OptionError(
            f"output '{name}' has {count} numbers, too many for JSON; allowed are {MOST_IN_JSON}. "
            'Ask for it with "parameters": {"binary_data": true}, or name the other outputs only'
        )
    return in_numbers(np.concatenate([row.ravel() for row in rows]))
