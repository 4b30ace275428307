"""429 without a thread: while the queue is full most of what comes is refused, which must not slow what was taken."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from camserve.web.server.incoming import LENGTH

if TYPE_CHECKING:
    from flask import Flask

    from camserve.errors import Busy

_LINE = re.compile(rb"([A-Z]+) (/[^ ?]*)[^ ]* HTTP/1\.[01]\r\n")
_ID = re.compile(rb"\r\nx-request-id:[ \t]*([^\r\n]*)", re.IGNORECASE)


def refused(app: "Flask", busy: "Busy", data: bytes, client: object) -> bytes | None:
    """The answer to a request that there is no place for, counted and logged like any other; None: let it in.

    busy: why. data: what has come of it. client: its address, as sockets have it. The page's form is
    let in, and refused there.
    """
    from camserve.web.app import HEADERS
    from camserve.web.logs import log_answer
    from camserve.web.problems import RETRY_AFTER, Problem
    from camserve.web.request_record import begun
    from camserve.web.routes.prometheus import EXTENSION, Metrics

    line = _LINE.match(data)
    if line is None or line[2] == b"/":
        return None
    head = data.partition(b"\r\n\r\n")[0]
    method, path = line[1].decode(), unquote_to_bytes(line[2]).decode(errors="replace")
    now = begun(_first(_ID, head), None)
    headers = {"Retry-After": str(RETRY_AFTER[busy.status]), "Connection": "close"}
    response = Problem(busy.status, busy.code, str(busy), headers).response(now, path)
    response.headers.update({**HEADERS, "X-Request-Id": now.id})
    kept: Metrics = app.extensions[EXTENSION]
    kept.count(response, now)
    about = {
        "client": client[0] if isinstance(client, tuple) else None,
        "bytes_in": int(_first(LENGTH, head.lower()) or 0),
    }
    log_answer(response, now, method, path, about)
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.get_data()


def _first(pattern: "re.Pattern[bytes]", head: bytes) -> str:
    found = pattern.search(head)
    return found[1].decode("latin-1").strip() if found else ""
