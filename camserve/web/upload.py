"""The image of a request, as the body or a file of a form, and the options of the request."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, cast

from flask import Request, g
from gunicorn.http.errors import ParseException
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected

from camserve.errors import BodyTooLarge, ImageTypeError, OptionError, shown
from camserve.images.reading import Source
from camserve.web.compression import CODINGS, Inflated
from camserve.web.request_options import Options, parse_options
from camserve.web.server.chunks import limit_chunks
from camserve.web.service import LIKE, service
from camserve.web.work.admission import ENVELOPE_BYTES

FIELD = "image"
# Allowed names of a form's file; TorchServe's clients use the second.
FIELDS = (FIELD, "data")
FORM = "multipart/form-data"
PARTS = 64

# Most characters of gunicorn's messages, which quote the body.
_QUOTED = 200
_HOW = "Send the image as the body with its own Content-Type, such as image/jpeg, or as the form field 'image'"


@dataclass(frozen=True)
class Upload:
    """An uploaded image. data: its bytes. name: the file's name, or None. fields: the form's other fields, in order.

    like: the image that it is compared with, or None.
    """

    data: bytes
    name: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    like: "Upload | None" = None

    @property
    def image(self) -> Source:
        """The image as a source for `read_photo`."""
        return cast(IO[bytes], FileStorage(io.BytesIO(self.data), self.name))  # type: ignore[return-value]

    @property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each image, the same as `Photo.sha256`."""
        several = (self,) if self.like is None else (self, self.like)
        return tuple(hashlib.sha256(one.data).hexdigest() for one in several)

    @property
    def images(self) -> list[Source]:
        """All images as sources for `read_photo`."""
        return [self.image] if self.like is None else [self.image, self.like.image]


class UploadRequest(Request):
    """A request whose uploads stay in memory: their size is limited, and the service needs no writable disk."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


def read_upload(request: Request, *, two: bool = False) -> Upload:
    """Read the image, and the form's other fields. two: whether the form may have a second image, `like`.

    Raises the errors of `reading`, ImageTypeError for a type that is not accepted, and OptionError if a form does not
    have exactly one image.
    """
    kind = request.mimetype
    if kind == FORM:
        with reading(request):
            files, fields = MultiDict(request.files), tuple(request.form.items(multi=True))
        like: list[FileStorage] = files.poplist(LIKE) if two else []
        if len(like) > 1:
            raise OptionError(f"the form has {len(like)} files '{LIKE}'; allowed is one")
        made = _from_form(files, fields)
        others = [Upload(file.stream.read(), file.filename) for file in like if file.filename]
        return replace(made, like=others[0]) if others else made
    if kind not in ("", "application/octet-stream") and not kind.startswith("image/"):
        raise ImageTypeError(
            f"Content-Type {shown(kind)} is not accepted; allowed are image/*, application/octet-stream and {FORM}. "
            f"{_HOW} (curl -F image=@photo.jpg)."
        )
    return Upload(read_bytes(request))


def options_with(request: Request, upload: Upload) -> Options:
    """The options in the query and in the form. Raises OptionError."""
    return parse_options([*request.args.items(multi=True), *upload.fields])


def read_bytes(request: Request) -> bytes:
    """Read the whole body. Raises the errors of `reading`, and OptionError if the body ends early."""
    max_bytes = service().settings.limits.max_bytes
    with reading(request):
        data = request.get_data(cache=False)
        if len(data) > max_bytes:  # without a Content-Length, reading stops slightly beyond the limit
            raise _too_large(len(data), max_bytes)
    if request.content_length not in (None, len(data)) and not _coding(request):
        g.body_read = False
        raise OptionError(f"the body has {len(data)} bytes; Content-Length said {request.content_length}")
    return data


@contextmanager
def reading(request: Request) -> Iterator[None]:
    """A context in which the body is read, to its end unless an error is raised.

    A body with Content-Encoding gzip or deflate is decompressed; the same limit holds for it. Raises before reading:
    BodyTooLarge (from Content-Length), ImageTypeError for another coding, Unavailable, Busy. Raises while reading:
    UploadTooSlow, BodyTooLarge, OptionError.
    """
    ours, connection = service(), request.environ.get("gunicorn.socket")
    if not ours.gate.has_accepted(connection):
        ours.check_ready()
    max_bytes = ours.settings.limits.max_bytes
    if (length := request.content_length or 0) > max_bytes + ENVELOPE_BYTES:
        raise _too_large(length, max_bytes)
    limit_chunks(request.environ["wsgi.input"])
    if coding := _coding(request):
        request.stream = cast(IO[bytes], Inflated(request.stream, coding, max_bytes))
    with ours.gate.upload(connection):
        try:
            yield
        except ParseException as error:
            raise OptionError(f"the body's chunks are not valid HTTP: {str(error)[:_QUOTED]}") from None
        except ClientDisconnected:
            raise OptionError("the body ends early; send it again") from None
    g.body_read = True


def _coding(request: Request) -> str:
    """The Content-Encoding; "" if the body is not compressed. Raises ImageTypeError for an unknown coding."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return ""
    if coding not in CODINGS:
        raise ImageTypeError(
            f"Content-Encoding {shown(coding)} is not accepted; send the body as it is, or as gzip or deflate"
        )
    return coding


def _too_large(length: int, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {length / 2**20:.4g} MiB or more; allowed are {max_bytes / 2**20:.4g} "
        "(limits.body_megabytes). Try a smaller copy, or JPEG."
    )


def _from_form(files: "MultiDict[str, FileStorage]", fields: tuple[tuple[str, str], ...]) -> Upload:
    images = [file for name in FIELDS for file in files.getlist(name) if file.filename]
    if len(images) != 1 or not set(files) <= set(FIELDS):
        raise OptionError(_what_is_wrong(files.items(multi=True), len(images), dict(fields)))
    return Upload(images[0].stream.read(), images[0].filename, fields)


def _what_is_wrong(files: Iterable[tuple[str, FileStorage]], images: int, fields: dict[str, str]) -> str:
    strangers = [name for name, _ in files if name not in FIELDS]
    if strangers:
        return f"the form has a file {shown(strangers[0])}; allowed is one file, named '{FIELD}'"
    if images > 1:
        return f"the form has {images} images; send one image per request"
    if text := next((name for name in FIELDS if name in fields), None):
        return f"the form's field '{text}' is text, not a file: with curl write -F {text}=@photo.jpg"
    return f"the form has no image. {_HOW}."
