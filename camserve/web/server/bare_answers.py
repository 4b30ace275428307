"""Answers that the server gives before the application gets the request. They have the form of all other answers, and
are counted and logged like them."""

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from camserve.web.server.incoming import LENGTH
from camserve.web.server.proxies import client_of

if TYPE_CHECKING:
    from flask import Flask

    from camserve.web.problems import Problem

_LINE = re.compile(rb"([A-Z]{1,20}) (/[^ ?\r\n]*)[^ \r\n]* HTTP/1\.[01]\r\n")
_ID = re.compile(rb"\r\nx-request-id:[ \t]*([^\r\n]*)", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([^\r\n]*)", re.IGNORECASE)
_FORWARDED = re.compile(rb"\r\nx-forwarded-for:[ \t]*([^\r\n]*)", re.IGNORECASE)
# Most characters of a path in the log.
_LONGEST_PATH = 300


class Head(NamedTuple):
    """The needed fields of a request's head. method, path: "" if the first line is not valid."""

    method: str = ""
    path: str = ""
    id: str = ""
    length: int = 0
    forwarded: str = ""
    origin: str = ""


def head_of(data: bytes) -> Head:
    """The head in the bytes that have arrived."""
    line, head = _LINE.match(data), data.partition(b"\r\n\r\n")[0]
    method, path = (line[1], line[2]) if line else (b"", b"")
    return Head(
        method.decode(),
        unquote_to_bytes(path).decode(errors="replace"),
        _first(_ID, head),
        int(_first(LENGTH, head.lower()) or 0),
        _first(_FORWARDED, head),
        _first(_ORIGIN, head),
    )


def bare_answer(app: "Flask", problem: "Problem", head: Head, client: object) -> bytes:
    """The bytes of an answer that ends the connection. client: the address from the socket."""
    from camserve.web.logs import log_answer
    from camserve.web.other_origins import reading_headers, security_headers
    from camserve.web.request_record import begun
    from camserve.web.routes.prometheus import EXTENSION, Metrics
    from camserve.web.service import EXTENSION as SERVICE

    now = begun(head.id, None)
    response = problem.response(now, head.path)
    serve = app.extensions[SERVICE].settings.serve
    told = {**security_headers(serve), **reading_headers(serve, head.origin)}
    response.headers.update({**told, "X-Request-Id": now.id, "Connection": "close"})
    kept: Metrics = app.extensions[EXTENSION]
    kept.count(response, now)
    peer = client[0] if isinstance(client, tuple) else None
    about = {"client": client_of(peer, head.forwarded, serve.proxies), "bytes_in": head.length}
    log_answer(response, now, head.method, head.path[:_LONGEST_PATH], about)
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.get_data()


def _first(pattern: "re.Pattern[bytes]", head: bytes) -> str:
    found = pattern.search(head)
    return found[1].decode("latin-1").strip() if found else ""
