"""The record of a running request: its id, the times of its steps, and facts for its line in the log."""

import re
import socket
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Flask, Response, g, request

from camserve.errors import ClientGone
from camserve.system.timing import Timing

_SANE_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


@dataclass
class Record:
    """The record of a request. id: the caller's, if it is safe for a log, or a new one. started: time.perf_counter().

    facts: "model", "method", "megapixels" and so on, as they become known. connection: to the client, or None. limit:
    the setting of `serve` that limits its time.
    """

    id: str
    connection: socket.socket | None = None
    timing: Timing = field(default_factory=Timing)
    facts: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    limit: str = "deadline_seconds"

    @property
    def seconds(self) -> float:
        """Seconds since the request began."""
        return time.perf_counter() - self.started

    def check_client(self, done: int = 0, total: int = 0) -> None:
        """Raise ClientGone if the client has closed the connection. Can be used as a Progress."""
        if self.connection is not None and _is_closed(self.connection):
            raise ClientGone("the client has closed the connection; nothing more is computed for it")


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:  # the connection was reset
        return True


def record() -> Record:
    """The record of the current request."""
    return cast(Record, g.record)


def begun(given: str, connection: socket.socket | None) -> Record:
    """A record for a new request. given: the id that the caller sent."""
    return Record(given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex, connection)


def keep_records(app: Flask) -> None:
    """Begin a record for each request, and send its id and times in headers."""

    @app.before_request
    def _begin() -> None:
        g.record = begun(request.headers.get("X-Request-Id", ""), request.environ.get("gunicorn.socket"))

    @app.after_request
    def _tell(response: Response) -> Response:
        response.headers["X-Request-Id"] = record().id
        if record().timing.seconds:
            response.headers["Server-Timing"] = record().timing.header()
        return response
