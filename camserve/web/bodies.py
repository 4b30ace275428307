"""JSON bodies: what they are held against, and the images in them."""

import base64
import binascii
from typing import TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError

from camserve.errors import OptionError, shown
from camserve.web.request_options import LONGEST
from camserve.web.upload import FORM, read_bytes

Body = TypeVar("Body", bound=BaseModel)

_FAULTS = 3


def has_image_body(request: Request) -> bool:
    """Whether the body is an image or a form with one; anything else is read as JSON, as `curl -d` declares nothing."""
    return request.mimetype.startswith("image/") or request.mimetype in (FORM, "application/octet-stream")


def read_json(request: Request, kind: type[Body]) -> Body:
    """The body as a `kind`. Raises what `read_bytes` does, OptionError naming where it is not one."""
    return parse_json(read_bytes(request), kind)


def parse_json(data: bytes, kind: type[Body]) -> Body:
    """`data` as a `kind`. Raises OptionError."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        faults = [_fault(one["loc"], one["msg"], one["input"]) for one in error.errors()[:_FAULTS]]
        more = error.error_count() - _FAULTS
        raise OptionError("; ".join(faults) + (f"; and {more} more" if more > 0 else "")) from None


def decode_base64(text: str, where: str) -> bytes:
    """The bytes of standard base64, with or without a data: URL's beginning. Raises OptionError."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise OptionError(f"{where} is not base64: {error}. URLs are not fetched.") from None


def _fault(place: tuple[int | str, ...], said: str, given: object) -> str:
    name = ".".join(map(str, place))
    if not name:
        return f"the body: {said}"
    name = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    return f"{name} {shown(given)}: {said.removeprefix('Input ')}"
