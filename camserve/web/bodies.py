"""JSON bodies: their validation, and the images in them."""

import base64
import binascii
import string
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError

from camserve.config.validation_words import words_of
from camserve.errors import OptionError, TooMuch, shown
from camserve.web.service import service
from camserve.web.upload import FORM, Upload, read_bytes, read_upload

Body = TypeVar("Body", bound=BaseModel)
Held = TypeVar("Held")

_FAULTS = 3
# The Content-Type that curl sends with -T, and with -d and --data-binary.
_UNDECLARED = ("", "application/x-www-form-urlencoded")
# A file with more bytes than this almost certainly contains a line end.
_TELLING = 4000
# Most characters of a fault's location, which may contain names from the caller.
_LONGEST_PLACE = 200
# Most names of inputs or columns that an error lists.
_NAMES = 5
# Allowed JSON values of a body besides its images (options, outputs), and per image (the values around base64).
_BESIDE, _OF_AN_IMAGE = 1000, 8
# Bytes that are counted at once; no other thread runs meanwhile.
_COUNTED = 2**20
# A sign next to each JSON value except the outermost, and next to each name in an object.
_VALUES, _NAMED = (b",", b"[", b"{"), (b":",)


def has_image_body(request: Request) -> bool:
    """Whether the Content-Type is that of an image or a form."""
    return request.mimetype.startswith("image/") or request.mimetype in (FORM, "application/octet-stream")


def read_body(request: Request, kind: type[Body], most: int | None = None) -> Upload | Body:
    """Read an image, or JSON as a `kind`, by the Content-Type or, without one, by the first byte.

    most: as in `parse_json`. Raises the errors of `read_upload` and `parse_json`.
    """
    if has_image_body(request):
        return read_upload(request)
    data = read_bytes(request)
    return Upload(data) if is_bare_image(request, data) else parse_json(data, kind, most)


def is_bare_image(request: Request, data: bytes) -> bool:
    """Whether a body without a useful Content-Type is an image: JSON begins with a bracket, an image file does not.

    curl sends no Content-Type with -T, and always that of a form with -d and --data-binary. Raises OptionError if curl
    has removed bytes of the file.
    """
    if request.mimetype not in _UNDECLARED or data.lstrip()[:1] in (b"", b"{", b"["):
        return False
    if request.mimetype and len(data) > _TELLING and not set(b"\r\n") & set(data):
        raise OptionError(
            "curl -d removes line ends from a file: send it with --data-binary @photo.jpg, or -T photo.jpg"
        )
    return True


def parse_json(data: bytes, kind: type[Body], most: int | None = None) -> Body:
    """Parse `data` as a `kind`. Raises OptionError, TooMuch.

    most: largest allowed number of values; default: enough for the allowed number of images. Values are counted before
    parsing, because an error report for a million values takes seconds.
    """
    needed = _BESIDE + _OF_AN_IMAGE * service().settings.limits.explanations
    _check_count(data, _VALUES, most or needed, "values")
    _check_count(data, _NAMED, needed, "names")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors()[:_FAULTS]]
        more = error.error_count() - _FAULTS
        raise OptionError("; ".join(faults) + (f"; and {more} more" if more > 0 else "")) from None


def _check_count(data: bytes, signs: Sequence[bytes], most: int, what: str) -> None:
    """Raise TooMuch if there are more than `most` of these signs. Signs inside texts count, too."""
    count = 0
    for start in range(0, len(data), _COUNTED):
        count += sum(data.count(sign, start, start + _COUNTED) for sign in signs)
        if count > most:
            raise TooMuch(
                f"the JSON has more than {most} {what}, which is the limit; send fewer images at once "
                "(limits.explanations), and each as a file in base64"
            )


def check_images(count: int) -> None:
    """Raise TooMuch if a request has more images than allowed."""
    if count > (limit := service().settings.limits.explanations):
        raise TooMuch(
            f"the request has {count} images; allowed are {limit} (limits.explanations). Try several requests."
        )


def emptied(values: list[Held]) -> Iterator[Held]:
    """Yield the values in order, and remove each from the list, because it may be an image of many megabytes."""
    values.reverse()
    while values:
        yield values.pop()


def decode_base64(text: str, where: str) -> bytes:
    """The bytes of standard base64, with or without the prefix of a data: URL. Raises OptionError."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text.encode("ascii").translate(None, string.whitespace.encode()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise OptionError(f"{where} is not base64: {error}. URLs are not fetched.") from None


def named(kind: str, names: Sequence[object]) -> str:
    """A count and the first names, such as `2 columns, 'id' and 'image'`."""
    several = f"{len(names)} {kind}{'' if len(names) == 1 else 's'}"
    listed = [shown(name) for name in names[:_NAMES]]
    more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return f"{several}, {' and '.join([*listed, *more])}" if listed else several


def _fault(fault: Any) -> str:
    name, said = ".".join(map(str, fault["loc"])), words_of(fault)
    if not name:
        return f"the body: {said}"
    name = name if len(name) <= _LONGEST_PLACE else f"{name[:_LONGEST_PLACE]}..."
    return f"{name} {said}" if fault["type"] == "missing" else f"{name} {shown(fault['input'])}: {said}"
