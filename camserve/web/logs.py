"""The service's log: one JSON object a line, and one line a request."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request
from gunicorn.glogging import Logger

from camserve.web.request_record import Record, record
from camserve.web.server.proxies import client_of
from camserve.web.service import service

log = logging.getLogger("camserve.request")


class JsonLines(logging.Formatter):
    """time, level, logger and message, then what a record's `facts` hold; a traceback as one string."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class ServerLogger(Logger):  # type: ignore[misc]
    """gunicorn's own messages, in the same log as ours."""

    def setup(self, cfg: object) -> None:
        """Called by gunicorn, which would write to a handler of its own."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class AtOnce(logging.Handler):
    """To stderr, each line in one call and without a lock.

    A thread that writes lets others run Python meanwhile; with a lock in hand it would have them wait for it to be
    back, and the thread that answers health checks with them.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of other handlers."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        """The system keeps lines apart: to a file always, to a pipe up to 4 KB."""
        try:
            line = f"{self.format(record)}\n".encode()
            while line:
                line = line[os.write(sys.stderr.fileno(), line) :]
        except Exception:  # a full disk is no reason to answer nobody
            self.handleError(record)


def log_to_stderr() -> None:
    """Write everything from INFO on to stderr as JSON lines; of Pillow only what is critical.

    It logs errors of what clients send, which a problem in the answer says already, and which are no errors of ours.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    handler = AtOnce()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_requests(app: Flask) -> None:
    """One line for each request, when its answer is made."""

    @app.after_request
    def _log(response: Response) -> Response:
        forwarded, proxies = request.headers.get("X-Forwarded-For", ""), service().settings.serve.proxies
        about = {"client": client_of(request.remote_addr, forwarded, proxies), "bytes_in": request.content_length or 0}
        log_answer(response, record(), request.method, request.path, about)
        return response


def log_answer(response: Response, now: Record, method: str, path: str, about: dict[str, Any]) -> None:
    """Write the line of one request. about: what is known of it besides."""
    facts = {
        "request": now.id,
        "method": method,
        "path": path,
        "status": response.status_code,
        "milliseconds": round(1000 * now.seconds, 1),
        "bytes_out": response.content_length or 0,
        **about,
        **now.facts,
        **{f"{step}_milliseconds": taken for step, taken in now.timing.milliseconds().items()},
    }
    log.info("%s %s %d", method, path, response.status_code, extra={"facts": facts})
