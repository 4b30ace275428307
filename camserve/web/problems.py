"""One form of answer for all failures: the members of RFC 9457, plus "error" and "code".

Internal errors (status 500) are logged with the request's id. The answer contains only this id, because the messages of
such errors contain paths.
"""

import json
import logging
from dataclasses import dataclass, field

from flask import Flask, Response, current_app, g, request
from typing_extensions import TypedDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from camserve.errors import CamserveError, OutOfMemory, UnknownName
from camserve.system.shortage import is_shortage
from camserve.web.request_record import Record, record
from camserve.web.service import service
from camserve.web.upload import PARTS

log = logging.getLogger(__name__)

# Seconds: a full queue moves within one, loading a model takes a few.
RETRY_AFTER = {429: 1, 503: 2}

_CODES = {404: "unknown_path", 413: "body_too_large", 415: "unsupported_type"}


class ProblemBody(TypedDict):
    """The body of a failure: the members of RFC 9457, and error and code."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    code: str
    request_id: str


def media_type(path: str) -> str:
    """The media type of failures. Clients of /v1 and /v2 show the message only if it is plain JSON."""
    return "application/json" if path.startswith(("/v1", "/v2")) else "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """A failure. status: the HTTP status. code: the stable name for programs. detail: the sentence for people."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, now: Record, path: str) -> Response:
        """The answer to a request for `path`."""
        now.facts |= {"code": self.code, "detail": self.detail}
        body: ProblemBody = {
            "type": "about:blank",
            "title": HTTP_STATUS_CODES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            "code": self.code,
            "request_id": now.id,
        }
        return Response(json.dumps(body), self.status, self.headers, content_type=media_type(path))


def register(app: Flask) -> None:
    """Answer every exception of `app` with a Problem."""

    @app.errorhandler(Exception)
    def _answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException) and (error.code or 0) < 400:  # a redirect
            return error
        return problem_of(error).response(record(), request.path)

    @app.after_request
    def _end(response: Response) -> Response:
        """Close the connection if the body was not read to its end: the rest would be read as the next request."""
        has_body = request.content_length or "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if has_body and not g.get("body_read"):
            response.headers["Connection"] = "close"
        return response


def problem_of(error: Exception, now: Record | None = None) -> Problem:
    """The Problem for an exception. Errors that the caller must not see are logged. now: default the current record."""
    if is_shortage(error):
        made = out_of_memory(error)
    elif isinstance(error, CamserveError) and error.status != 500:
        made = Problem(error.status, error.code, str(error), _headers(error.status, error.retry_after))
    elif isinstance(error, HTTPException) and error.code and error.code < 500:
        made = _from_http(error, error.code)
    else:
        name = (now or record()).id
        log.error("request %s failed: %s", name, error, exc_info=error)
        made = _internal(error, name)
    return made


def out_of_memory(error: BaseException) -> Problem:
    """The Problem for too little memory; logs where it happened."""
    log.warning("out of memory: %s", error, exc_info=error)
    detail = "there is too little memory for this request now; try again shortly, or a smaller image"
    return Problem(503, OutOfMemory.code, detail, {"Retry-After": str(RETRY_AFTER[503])})


def _internal(error: Exception, name: str) -> Problem:
    if isinstance(error, CamserveError):
        cause = {"model_error": "the model does not work", "cannot_write": "a result could not be written"}
        said = cause.get(error.code, "the service is not configured correctly")
        return Problem(500, error.code, f"{said}; the service's log says why, see request {name}")
    detail = f"an internal error of camserve; the service's log has it, see request {name}"
    return Problem(500, "internal_error", detail)


def _from_http(error: HTTPException, status: int) -> Problem:
    code = _CODES.get(status, error.name.lower().replace(" ", "_").replace("-", "_"))
    detail = error.description or error.name
    headers = _headers(status)
    if isinstance(error, NotFound):
        detail = str(UnknownName("path", request.path, _paths()))
    elif isinstance(error, RequestEntityTooLarge):
        detail = _too_large()
    elif isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        detail = f"{request.method} is not allowed on {request.path}; allowed: {headers['Allow']}"
    return Problem(status, code, detail, headers)


def _too_large() -> str:
    limit = service().settings.limits.body_megabytes
    return (
        f"the body is larger than {limit:g} MiB (limits.body_megabytes), or the form has over {PARTS} fields "
        "or over half a megabyte in a field that is not a file"
    )


def _paths() -> list[str]:
    return sorted({rule.rule for rule in current_app.url_map.iter_rules() if rule.endpoint != "static"})


def _headers(status: int, seconds: int | None = None) -> dict[str, str]:
    headers = {"Retry-After": str(seconds or RETRY_AFTER[status])} if status in RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
