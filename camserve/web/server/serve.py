"""Starts gunicorn from Python: one worker process with many threads and its own models.

The master process only binds, forks and forwards signals. It never imports torch, because a process that has run torch
must not fork.
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from camserve.config.schema import Settings
from camserve.errors import ConfigError
from camserve.models import card as cards
from camserve.system.allocation import give_back_when_idle
from camserve.web.logs import ServerLogger, log_to_stderr
from camserve.web.model_store import Shelf
from camserve.web.server.gunicorn_worker import Worker
from camserve.web.work.admission import Gate

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

    from camserve.web.service import Service

# At shutdown, an accepted request has `serve.upload_seconds` to arrive, `serve.deadline_seconds` for its answer, and
# this time to be rendered and sent.
_GRACE_SECONDS = 15
# Socket options of accepted connections, on Linux. TCP_DEFER_ACCEPT (seconds): a connection is accepted only when its
# client sends something. TCP_USER_TIMEOUT (milliseconds): a connection ends if its client is gone or does not read.
_SOCKET_OPTIONS = {"TCP_DEFER_ACCEPT": 30, "TCP_USER_TIMEOUT": 30_000}
# gunicorn's exit code for "do not start another worker, it would fail as well"
_CANNOT_START = 3

# Flushed, because otherwise the forked worker would have the line in its copy of the buffer.
_say = partial(print, flush=True)


def serve(settings: Settings, announce: Callable[[str], None] = _say) -> None:
    """Run the service until SIGTERM or SIGINT. Never returns, but ends with SystemExit.

    announce: called with a message when the address is open. Raises ConfigError if it cannot be opened, and
    ModelNotFound or ModelError if a model to load at the start, or its files, are missing.
    """
    for card in Shelf(settings).at_start.values():
        cards.check_files(card, settings.models)  # without torch, before anything starts
    listener = open_socket(settings.serve.host, settings.serve.port)
    message = _message(listener.getsockname(), bool(settings.serve.token.get_secret_value()))
    log_to_stderr()
    Server(settings, listener, lambda: announce(message)).run()


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. port: 0 means any free port. Raises ConfigError, which names host and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
        for option, value in _SOCKET_OPTIONS.items():
            if hasattr(socket, option):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return listener
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise ConfigError(
            f"cannot listen on {host} port {port} (serve.host, serve.port): {reason}. "
            "Stop the program that listens there, or choose another port; 0 takes any free port."
        ) from None


def _message(address: tuple[Any, ...], token: bool) -> str:
    host, port = address[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if ipaddress.ip_address(host).is_loopback:
        return f"camserve listens on {url} (this machine only; serve.host opens it to others)"
    guard = "for clients with the token" if token else "without authentication; serve.token asks for a token"
    return f"camserve listens on {url} (open to the network, {guard})"


class Server(BaseApplication):  # type: ignore[misc]
    """One worker process on one open socket. opened: called once in the master, when the socket accepts requests."""

    def __init__(self, settings: Settings, listener: socket.socket, opened: Callable[[], None]) -> None:
        self.settings, self.opened = settings, opened
        self.bind = f"fd://{listener.detach()}"  # only once, because a HUP signal loads the settings again
        self.service: Service | None = None
        self.flask: Flask | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings. Its own files and environment variables are not read."""
        serve = self.settings.serve
        values: dict[str, object] = {
            "bind": self.bind,
            "workers": 1,
            "worker_class": Worker,
            "threads": serve.http_threads + Gate(self.settings).places,
            "preload_app": False,
            "graceful_timeout": int(serve.upload_seconds + serve.deadline_seconds + _GRACE_SECONDS),
            "keepalive": 5,
            "sendfile": False,  # sendfile would wait for the client
            "loglevel": "warning",
            "logger_class": ServerLogger,
            "proc_name": "camserve",
            "when_ready": lambda server: self.opened(),
            "control_socket_disable": True,
            # the only clients whose headers may change the path or the scheme; overrides FORWARDED_ALLOW_IPS
            "forwarded_allow_ips": ",".join(serve.proxies),
            "forwarder_headers": "SCRIPT_NAME",
            "proxy_allow_ips": "",
        }
        for name, value in values.items():
            if name in self.cfg.settings:  # the control socket came with gunicorn 25
                self.cfg.set(name, value)

    def load(self) -> "WSGIApplication":
        """Create the application in the worker process. Models load in the background."""
        from camserve.web.app import create_app
        from camserve.web.service import Service

        self.service = service = Service(self.settings)
        give_back_when_idle(service.idle_seconds, service.rest)
        self.service.load_in_background(on_failure=lambda: os._exit(_CANNOT_START))
        self.flask = create_app(service=self.service)
        return closes_connections(self.flask)


def closes_connections(app: "WSGIApplication") -> "WSGIApplication":
    """Wrap `app` so that "Connection: close" closes the connection. gunicorn would ignore this header."""

    def wrapped(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            response = getattr(start_response, "__self__", None)
            if response is not None and ("Connection", "close") in headers:
                response.force_close()
            return start_response(status, headers, *rest)

        return app(environ, start)

    return wrapped
