"""JSON bodies: what they are held against, and the images in them."""

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
# What curl declares with -T, and with -d and --data-binary.
_UNDECLARED = ("", "application/x-www-form-urlencoded")
# Bytes of a file among which there is a line end by chance.
_TELLING = 4000
# Characters of where a fault is: of names that the caller made up.
_LONGEST_PLACE = 200
# Names of inputs or columns that an error lists.
_NAMES = 5
# Values of a JSON body beside those of its images, and those of an image: options, outputs, what stands around base64.
_BESIDE, _OF_AN_IMAGE = 1000, 8
# Bytes that are counted at once; what is counted lets nobody else run.
_COUNTED = 2**20
# Stands before or behind each value of JSON but the outermost; and of each name in an object.
_VALUES, _NAMED = (b",", b"[", b"{"), (b":",)


def has_image_body(request: Request) -> bool:
    """Whether the body is declared an image, or a form with one."""
    return request.mimetype.startswith("image/") or request.mimetype in (FORM, "application/octet-stream")


def read_body(request: Request, kind: type[Body], most: int | None = None) -> Upload | Body:
    """An image, or JSON as a `kind`: what is declared or, where nothing is, what the first byte says.

    most: as in `parse_json`. Raises what `read_upload` and `parse_json` do.
    """
    if has_image_body(request):
        return read_upload(request)
    data = read_bytes(request)
    return Upload(data) if is_bare_image(request, data) else parse_json(data, kind, most)


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


def parse_json(data: bytes, kind: type[Body], most: int | None = None) -> Body:
    """`data` as a `kind`.

    most: values that it may hold, default what as many images as are allowed have need of. They are counted before
    anything is read: to say what is wrong with a million of them takes seconds. Raises OptionError, TooMuch.
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
    """Raises TooMuch where there are more of these signs than `most`; those inside texts count, too."""
    count = 0
    for start in range(0, len(data), _COUNTED):
        count += sum(data.count(sign, start, start + _COUNTED) for sign in signs)
        if count > most:
            raise TooMuch(
                f"the JSON has more than {most} {what}, which is the limit; send fewer images at once "
                "(limits.explanations), and each as a file in base64"
            )


def check_images(count: int) -> None:
    """Raises TooMuch where a request has more images than it may."""
    if count > (limit := service().settings.limits.explanations):
        raise TooMuch(
            f"the request has {count} images; allowed are {limit} (limits.explanations). Try several requests."
        )


def emptied(values: list[Held]) -> Iterator[Held]:
    """The values, in their order. Each leaves the list as it comes, since it may be the megabytes of an image."""
    values.reverse()
    while values:
        yield values.pop()


def decode_base64(text: str, where: str) -> bytes:
    """The bytes of standard base64, with or without a data: URL's beginning. Raises OptionError."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text.encode("ascii").translate(None, string.whitespace.encode()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise OptionError(f"{where} is not base64: {error}. URLs are not fetched.") from None


def named(kind: str, names: Sequence[object]) -> str:
    """`2 columns, 'id' and 'image'`: how many there are, and what the first of them are called."""
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
