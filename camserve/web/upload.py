"""The image of a request, as a raw body or as a form's file, and the options that came with it."""

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
# Names that a form's one file may have; the second is what TorchServe's clients call it.
FIELDS = (FIELD, "data")
FORM = "multipart/form-data"
PARTS = 64

# Characters of what gunicorn says of a body, which quotes it.
_QUOTED = 200
_HOW = "Send the image as the body with its own Content-Type, such as image/jpeg, or as the form field 'image'"


@dataclass(frozen=True)
class Upload:
    """data: the image's bytes. name: of the file, None where it has none. fields: the form's other fields, in order.

    like: the image that it is compared with, None where there is none.
    """

    data: bytes
    name: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    like: "Upload | None" = None

    @property
    def image(self) -> Source:
        """What `read_photo` takes."""
        return cast(IO[bytes], FileStorage(io.BytesIO(self.data), self.name))  # type: ignore[return-value]

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of all of it that is an image, as `Photo.sha256` has them once they are read."""
        several = (self,) if self.like is None else (self, self.like)
        return tuple(hashlib.sha256(one.data).hexdigest() for one in several)

    @property
    def images(self) -> list[Source]:
        """All of it that `read_photo` takes."""
        return [self.image] if self.like is None else [self.image, self.like.image]


class UploadRequest(Request):
    """A request whose uploads stay in memory: the body is bounded, and a service needs no writable disk."""

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

    Raises what `reading` does, ImageTypeError for a type we do not take, OptionError for a form without exactly one
    image.
    """
    kind = request.mimetype
    if kind == FORM:
        with reading(request):
            files, fields = MultiDict(request.files), tuple(request.form.items(multi=True))
        like: list[FileStorage] = files.poplist(LIKE) if two else []
        if len(like) > 1:
            raise OptionError(f"the form has {len(like)} files '{LIKE}'; an image is compared with one")
        made = _from_form(files, fields)
        others = [Upload(file.stream.read(), file.filename) for file in like if file.filename]
        return replace(made, like=others[0]) if others else made
    if kind not in ("", "application/octet-stream") and not kind.startswith("image/"):
        raise ImageTypeError(
            f"Content-Type {shown(kind)} is not taken; allowed are image/*, application/octet-stream and {FORM}. "
            f"{_HOW} (curl -F image=@photo.jpg)."
        )
    return Upload(read_bytes(request))


def options_with(request: Request, upload: Upload) -> Options:
    """The options of the query and of the form that the image came in. Raises OptionError."""
    return parse_options([*request.args.items(multi=True), *upload.fields])


def read_bytes(request: Request) -> bytes:
    """Read the body to its end. Raises what `reading` does, OptionError where it ends early."""
    max_bytes = service().settings.limits.max_bytes
    with reading(request):
        data = request.get_data(cache=False)
        if len(data) > max_bytes:  # where there is no Content-Length, reading stops a little beyond the limit
            raise _too_large(len(data), max_bytes)
    if request.content_length not in (None, len(data)) and not _coding(request):
        g.body_read = False
        raise OptionError(f"the body has {len(data)} bytes; Content-Length said {request.content_length}")
    return data


@contextmanager
def reading(request: Request) -> Iterator[None]:
    """While the body is read, to its end where nothing is raised.

    A body of Content-Encoding gzip or deflate is decompressed on the way, and held to the same limit. Raises, before
    reading, BodyTooLarge where Content-Length tells, ImageTypeError for another coding, Unavailable and Busy; and
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
            raise OptionError(f"the body's chunks are not as HTTP has them: {str(error)[:_QUOTED]}") from None
        except ClientDisconnected:
            raise OptionError("the body ends early; send it again") from None
    g.body_read = True


def _coding(request: Request) -> str:
    """How the body is compressed; "" where it is not. Raises ImageTypeError for a way that is not taken."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return ""
    if coding not in CODINGS:
        raise ImageTypeError(
            f"Content-Encoding {shown(coding)} is not taken; send the body as it is, or as gzip or deflate"
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
        return f"the form has a file {shown(strangers[0])}; the one file it may have is named '{FIELD}'"
    if images > 1:
        return f"the form has {images} images; one is explained at a time"
    if text := next((name for name in FIELDS if name in fields), None):
        return f"the form's field '{text}' is text, not a file: with curl write -F {text}=@photo.jpg"
    return f"the form has no image. {_HOW}."
