"""The log of the service: one JSON object per line, and one line per request."""

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
    """Formats a record as time, level, logger, message, the record's `facts`, and the traceback as one string."""

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
    """Sends gunicorn's own messages to the same log."""

    def setup(self, cfg: object) -> None:
        """Replace gunicorn's own handlers. gunicorn calls this method."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class AtOnce(logging.Handler):
    """Writes each line to stderr in one call, without a lock.

    While a thread writes, other threads run Python. If it held a lock, they would wait for it, and so would the thread
    that answers health checks.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Like Handler.handle, but without a lock."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. The system does not mix lines: in a file always, in a pipe up to 4 KB."""
        try:
            line = f"{self.format(record)}\n".encode()
            while line:
                line = line[os.write(sys.stderr.fileno(), line) :]
        except Exception:  # the service must answer requests even if the disk is full
            self.handleError(record)


def log_to_stderr() -> None:
    """Write all messages from INFO on to stderr as JSON lines; from Pillow only critical ones.

    Pillow logs errors in the files that clients send. The answer already reports these, and they are not errors of the
    service.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    handler = AtOnce()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_requests(app: Flask) -> None:
    """Log one line for each request, when its answer is ready."""

    @app.after_request
    def _log(response: Response) -> Response:
        forwarded, proxies = request.headers.get("X-Forwarded-For", ""), service().settings.serve.proxies
        about = {"client": client_of(request.remote_addr, forwarded, proxies), "bytes_in": request.content_length or 0}
        log_answer(response, record(), request.method, request.path, about)
        return response


def log_answer(response: Response, now: Record, method: str, path: str, about: dict[str, Any]) -> None:
    """Log the line of one request. about: more facts about it."""
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
