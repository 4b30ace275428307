"""Tensors of the Open Inference Protocol in requests and answers: JSON lists, or bytes behind the JSON.

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
# Most numbers of a tensor in JSON; one number takes about 20 bytes of JSON, and more while it is encoded.
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
    """The images of the only input; its data is removed. behind: the bytes that follow the JSON.

    Raises OptionError, TooMuch.
    """
    tensor = _only(inputs)
    if tensor.datatype != "BYTES":
        raise OptionError(
            f"input {shown(tensor.name)} is of {shown(tensor.datatype)}; allowed is BYTES, one image file per element"
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
            f"binary_data_size of input {shown(name)} is {shown(size)}; {len(behind)} bytes follow the JSON"
        )
    return split_bytes(behind)


def _flat(data: list[Any]) -> Iterator[str]:
    for one in emptied(data):
        if isinstance(one, list):
            yield from _flat(one)
        elif isinstance(one, str):
            yield one
        else:
            raise OptionError("the input holds values that are not text; give each image in base64, or as binary data")


def _only(inputs: Sequence[InputTensor]) -> InputTensor:
    """The only input, whatever its name. Raises OptionError if there are several."""
    if len(inputs) > 1:
        said = named("input", [one.name for one in inputs])
        raise OptionError(f"the request has {said}; give one, which holds the images and may have any name")
    return inputs[0]


def split_bytes(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor. Raises OptionError if the lengths do not add up, and TooMuch."""
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
    """One output: its entry in the JSON, for `json_pieces`, and the bytes that follow; no bytes if not `binary`.

    rows: for each image, its bytes or a float32 array. Raises OptionError if the arrays differ in size, or are too
    large for JSON.
    """
    is_bytes = isinstance(rows[0], bytes)
    shape = [len(rows)] if is_bytes else [len(rows), *_one_shape(name, rows)]
    entry: dict[str, Any] = {"name": name, "datatype": "BYTES" if is_bytes else "FP32", "shape": shape}
    if binary:
        data = _joined(rows) if is_bytes else [row.astype("<f4", copy=False).tobytes() for row in rows]
        return {**entry, "parameters": {"binary_data_size": sum(map(len, data))}}, data
    return {**entry, "data": [in_base64([one]) for one in rows] if is_bytes else _listed(name, rows)}, []


def body_of(answer: dict[str, Any], outputs: Sequence[tuple[dict[str, Any], list[bytes]]]) -> tuple[list[bytes], int]:
    """The pieces of an answer, and the length of its JSON in bytes."""
    head = json_pieces({**answer, "outputs": [entry for entry, _ in outputs]})
    return head + [piece for _, data in outputs for piece in data], sum(map(len, head))


def _joined(elements: Sequence[bytes]) -> list[bytes]:
    return [part for one in elements for part in (struct.pack("<I", len(one)), one)]


def _one_shape(name: str, rows: list[Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = rows[0].shape
    if any(row.shape != shape for row in rows):
        raise OptionError(f"the images differ in size, so '{name}' is no tensor; send one, or choose other outputs")
    return shape


def _listed(name: str, rows: list[Any]) -> Large:
    import numpy as np

    if (count := sum(row.size for row in rows)) > MOST_IN_JSON:
        raise OptionError(
            f"output '{name}' has {count} numbers, too many for JSON; allowed are {MOST_IN_JSON}. "
            'Ask for it with "parameters": {"binary_data": true}, or ask only for the other outputs'
        )
    return in_numbers(np.concatenate([row.ravel() for row in rows]))
