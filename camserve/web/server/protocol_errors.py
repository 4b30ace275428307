"""Errors that gunicorn finds itself: requests that are not valid HTTP or are too large."""

import logging
from typing import TYPE_CHECKING

from gunicorn.http import errors

from camserve.system.shortage import is_shortage

if TYPE_CHECKING:
    from camserve.web.problems import Problem

log = logging.getLogger(__name__)

# Errors with their own status, code and hint. All others are 400.
_KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (errors.LimitRequestLine, 414, "uri_too_long", "send the options as fields of a form"),
    (errors.LimitRequestHeaders, 431, "head_too_large", "a request may have 100 headers, each of 8190 bytes"),
    (errors.ExpectationFailed, 417, "expectation_failed", "leave Expect out, or ask for 100-continue"),
    (errors.UnsupportedTransferCoding, 501, "unsupported_coding", "send the body as it is, or in chunks"),
)
STATUSES = (400, *(status for _, status, _, _ in _KINDS))
# Errors that the application made, not the caller.
_OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
# Most characters of gunicorn's messages, which quote the request.
_QUOTED = 200


def head_too_long(most: int) -> "Problem":
    """The Problem for a head that is too long. most: the largest allowed number of bytes."""
    return protocol_problem(errors.LimitRequestHeaders(f"the head of the request has more than {most} bytes"))


def protocol_problem(error: BaseException) -> "Problem":
    """The Problem for an error of gunicorn outside the application. Errors that are not the caller's are logged."""
    from camserve.web.problems import Problem, out_of_memory

    if is_shortage(error):
        return out_of_memory(error)
    if isinstance(error, _OURS) or not isinstance(error, errors.ParseException):
        log.error("the server failed: %s", error, exc_info=error)
        return Problem(500, "internal_error", "an internal error of camserve; the service's log has it")
    said = str(error) if len(str(error)) <= _QUOTED else f"{str(error)[:_QUOTED]}..."
    for kind, status, code, hint in _KINDS:
        if isinstance(error, kind):
            return Problem(status, code, f"{said}; {hint}")
    return Problem(400, "bad_request", f"the request is not valid HTTP: {said}")
