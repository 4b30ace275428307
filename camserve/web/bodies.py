"""JSON bodies: what they are held against, and the images in them."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError

from camserve.errors import OptionError, shown
from camserve.web.request_options import LONGEST
from camserve.web.upload import FORM, Upload, read_bytes, read_upload

Body = TypeVar("Body", bound=BaseModel)

_FAULTS = 3
# What curl declares with -T, and with -d and --data-binary.
_UNDECLARED = ("", "application/x-www-form-urlencoded")
# Bytes of a file among which there is a line end by chance.
_TELLING = 4000
# Names of inputs or columns that an error lists.
_NAMES = 5


def has_image_body(request: Request) -> bool:
    """Whether the body is declared an image, or a form with one."""
    return request.mimetype.startswith("image/") or request.mimetype in (FORM, "application/octet-stream")


def read_body(request: Request, kind: type[Body]) -> Upload | Body:
    """An image, or JSON as a `kind`: what is declared or, where nothing is, what the first byte says.

    Raises what `read_upload` and `parse_json` do.
    """
    if has_image_body(request):
        return read_upload(request)
    data = read_bytes(request)
    return Upload(data) if is_bare_image(request, data) else parse_json(data, kind)


def is_bare_image(request: Request, data: bytes) -> bool:
    """Whether a body that nobody declared is an image: JSON begins with a bracket, and no file format of images does.

    curl declares nothing with -T, and a form's fields with -d and --data-binary, whatever it sends. Raises OptionError
    where it has left out bytes of the file.
    """
    if request.mimetype not in _UNDECLARED or data.lstrip()[:1] in (b"", b"{", b"["):
        return False
    if request.mimetype and len(data) > _TELLING and not set(b"\r\n") & set(data):
        raise OptionError(
            "curl -d takes line ends out of a file: send it with --data-binary @photo.jpg, or -T photo.jpg"
        )
    return True


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


def named(kind: str, names: Sequence[object]) -> str:
    """`2 columns, 'id' and 'image'`: how many there are, and what the first of them are called."""
    several = f"{len(names)} {kind}{'' if len(names) == 1 else 's'}"
    listed = [shown(name) for name in names[:_NAMES]]
    more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return f"{several}, {' and '.join([*listed, *more])}" if listed else several


def _fault(place: tuple[int | str, ...], said: str, given: object) -> str:
    name = ".".join(map(str, place))
    if not name:
        return f"the body: {said}"
    name = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    return f"{name} {shown(given)}: {said.removeprefix('Input ')}"
