"""Every error that camserve raises on purpose, in one tree.

CamserveError
├── OptionError            400  an option has a value that is not allowed
│   ├── CutError           400  a network that is cut at that layer gives other answers
│   ├── SizeError          400  the network does not take an input of that size
│   ├── TooLong            422  a method cannot end within the time allowed
│   ├── TooMuch            422  more work, images, classes or values than one request may have
│   └── UnknownName        400  no such method, layer, class, colour map ...; says which are close
├── ImageError             422  the bytes are not an image that can be decoded
│   ├── ImageTypeError     415  the file format is not supported
│   └── ImageTooLarge      422  more pixels, or a longer side, than the limit
├── BodyTooLarge           413  more bytes than the limit
├── Unauthorised           401  the bearer token is missing or wrong
├── UploadTooSlow          408  the body did not arrive in time
├── ClientGone             499  the client closed the connection before the answer
├── ModelNotFound          404  no card has that name
├── UnknownJob             404  no job has that id, or the service has forgotten it
├── NoResult               409  a job has not ended, or was cancelled
├── ModelError             500  a card, its weights or its network do not work
│   └── NotInstalled       500  a package that a card needs is not installed
├── ConfigError            500  a setting is unknown or out of range
├── EngineError            500  an engine cannot run a network, or gives other answers than torch
├── OutputError            500  a result cannot be written
└── Unavailable            503  the service is loading, or shutting down
    ├── OutOfMemory        503  there is too little memory now
    ├── Busy               429  the queue is full
    └── DeadlinePassed     504  no answer within the time allowed

Each message says what was given, what is allowed and what to try. `code` is the stable name for programs, `status` the
HTTP status, `exit_code` the exit status of a command.
"""

import difflib
import reprlib
import threading
from collections.abc import Iterable

# Characters of a value that an error quotes: enough to recognise the value, not a whole image.
_SHOWN = 100
# Characters of a misspelt name that are compared: the time grows with the square of their number.
LONGEST_NAME = 300
# The most names that an error suggests in place of an unknown one.
_OFFERED = 8
# A repr that reads only the first items of a collection.
_BRIEF = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxset = _BRIEF.maxdict = _SHOWN // 3
_BRIEF.maxstring = _BRIEF.maxother = 2 * _SHOWN + 10
_BRIEF.maxlong, _BRIEF.maxlevel = 4 * _SHOWN, 8


class CamserveError(Exception):
    """The root of the tree: catch it to catch every error of camserve."""

    code = "error"
    status = 500
    exit_code = 1
    # Seconds after which a client should try again, if known.
    retry_after: int | None = None


class OptionError(CamserveError):
    """An option has a value that camserve does not take."""

    code = "bad_option"
    status = 400
    exit_code = 2


class CutError(OptionError):
    """A network that is cut at that layer gives other answers."""


class SizeError(OptionError):
    """The network does not take an input of that size."""


class TooLong(OptionError):
    """A method would take longer than `serve.deadline_seconds`, or a job's `serve.job_seconds`, and was not started."""

    code = "too_long"
    status = 422


class TooMuch(OptionError):
    """A request asks for more work, images, classes or values than is allowed. No part of the work was started."""

    code = "too_much"
    status = 422


class UnknownName(OptionError):
    """A name that camserve does not know.

    >>> raise UnknownName("method", "grad_cam", ["cam", "gradcam"])
    Traceback (most recent call last):
    camserve.errors.UnknownName: unknown method 'grad_cam'; did you mean 'gradcam'? Known: cam, gradcam
    """

    code = "unknown_name"

    def __init__(
        self, kind: str, given: object, known: Iterable[str], *, close: list[str] | None = None, allowed: str = ""
    ) -> None:
        """close: similar names, the most similar first. allowed: text that replaces the list of known names."""
        names = list(known)
        close = close_names(given, names) if close is None else close
        hint = f"; did you mean {_offered(close)}?" if close else "."
        listed = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
        super().__init__(f"unknown {kind} {shown(given)}{hint} {allowed or f'Known: {listed}'}")


def _offered(names: list[str]) -> str:
    """Join the first names of a list, quoted. The list holds at least one name."""
    *first, last = map(repr, names[:_OFFERED])
    if len(names) > _OFFERED:
        return f"{', '.join([*first, last])} and {len(names) - _OFFERED} more"
    return f"{', '.join(first)} or {last}" if first else last


def shown(given: object) -> str:
    """Return a value as errors quote it: its repr, or the beginning of a long repr, which is never built in full."""
    try:
        text = _BRIEF.repr(given[: _SHOWN + 1] if isinstance(given, str | bytes) else given)
    except Exception:  # a user's class can raise anything, and Python prints no integer of more than 4300 digits
        return f"a {type(given).__name__}"
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}..." + (f" ({len(given)} characters)" if isinstance(given, str) else "")


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, the part that our own errors quote."""
    try:
        return str(error).strip().split("\n")[0]
    except Exception:  # a user's class can raise anything
        return ""


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is the user's Ctrl-C, which only the main thread receives, and not raised by some code."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def close_names(given: object, names: Iterable[str], *, likeness: float = 0.5) -> list[str]:
    """Return at most three of `names` that are similar to the given one, the most similar first; case is ignored."""
    text = given if isinstance(given, str) else shown(given)
    by_lower = {name.lower(): name for name in reversed(list(names))}
    close = difflib.get_close_matches(text[:LONGEST_NAME].lower(), by_lower, n=3, cutoff=likeness)
    return [by_lower[name] for name in close]


class ImageError(CamserveError):
    """The bytes are not an image that can be decoded."""

    code = "bad_image"
    status = 422


class ImageTypeError(ImageError):
    """A file format that camserve does not take."""

    code = "unsupported_type"
    status = 415


class ImageTooLarge(ImageError):
    """More pixels than `limits.megapixels` or `limits.local_megapixels`, or a side longer than `limits.side`."""

    code = "too_many_pixels"


class BodyTooLarge(CamserveError):
    """More bytes than `limits.body_megabytes` or `limits.local_megabytes`."""

    code = "body_too_large"
    status = 413


class Unauthorised(CamserveError):
    """The bearer token of `serve.token` is missing or wrong."""

    code = "unauthorised"
    status = 401


class UploadTooSlow(CamserveError):
    """The body did not arrive within `serve.upload_seconds`."""

    code = "upload_too_slow"
    status = 408


class ClientGone(CamserveError):
    """The client has closed the connection before the answer."""

    code = "client_gone"
    status = 499  # not a standard status: nginx writes it into its log


class ModelNotFound(CamserveError):
    """No card has that name."""

    code = "unknown_model"
    status = 404
    exit_code = 2

    def __init__(self, given: str, known: Iterable[str], hint: str = "") -> None:
        super().__init__(str(UnknownName("model", given, known)) + (f". {hint}" if hint else ""))


class UnknownJob(CamserveError):
    """No job has that id, or the service has forgotten the job."""

    code = "unknown_job"
    status = 404


class NoResult(CamserveError):
    """A job has not ended, or was cancelled."""

    code = "no_result"
    status = 409


class ModelError(CamserveError):
    """A card, its weights or its network do not work."""

    code = "model_error"


class NotInstalled(ModelError):
    """A package that a card needs is not installed; nothing is wrong with the card."""


class ConfigError(CamserveError):
    """A setting is unknown or out of range."""

    code = "bad_config"
    exit_code = 2


class EngineError(CamserveError):
    """An engine cannot run a network, or gives other answers than torch."""

    code = "bad_engine"


class OutputError(CamserveError):
    """A result cannot be written: disk full, no permission."""

    code = "cannot_write"
    exit_code = 4


class Unavailable(CamserveError):
    """The service is loading, or shutting down."""

    code = "unavailable"
    status = 503


class OutOfMemory(Unavailable):
    """There is too little memory now; nothing is wrong with the request."""

    code = "out_of_memory"


class Busy(Unavailable):
    """The queue in front of the workers is full."""

    code = "busy"
    status = 429


class DeadlinePassed(Unavailable):
    """There was no answer within `serve.deadline_seconds`, or for a job within `serve.job_seconds`."""

    code = "deadline_passed"
    status = 504
