"""gunicorn, started from Python: one worker process of many threads, whose models are its own.

The master process only binds, forks and passes signals on. It never imports torch: a process that has run
torch must not fork.
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

# What is accepted gets `serve.upload_seconds` to arrive, `serve.deadline_seconds` for its answer, and this much to be
# rendered and sent.
_GRACE_SECONDS = 15
# What accepted connections inherit, where the system knows it (Linux): one whose client sends nothing takes no thread,
# seconds; one whose client has gone without a word, or does not read its answer, is given up, milliseconds.
_SOCKET_OPTIONS = {"TCP_DEFER_ACCEPT": 30, "TCP_USER_TIMEOUT": 30_000}
# gunicorn's exit code for "do not start another worker, it would fail as well"
_CANNOT_START = 3

# Flushed, or the worker would be forked with the line still in its copy of the buffer.
_say = partial(print, flush=True)


def serve(settings: Settings, announce: Callable[[str], None] = _say) -> None:
    """Run the service until SIGTERM or SIGINT; never returns, but ends by SystemExit.

    announce: is told the address once it is open. Raises ConfigError where it cannot be, ModelNotFound and ModelError
    where a card that is to be loaded at the start, or its files, are missing.
    """
    for card in Shelf(settings).at_start.values():
        cards.check_files(card, settings.models)  # without torch, before anything starts
    listener = open_socket(settings.serve.host, settings.serve.port)
    message = _message(listener.getsockname(), bool(settings.serve.token.get_secret_value()))
    log_to_stderr()
    Server(settings, listener, lambda: announce(message)).run()


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0: any free one. Raises ConfigError naming both."""
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
            "Stop what listens there, or choose another port; 0 takes any free one."
        ) from None


def _message(address: tuple[Any, ...], token: bool) -> str:
    host, port = address[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if ipaddress.ip_address(host).is_loopback:
        return f"camserve listens on {url} (this machine only; serve.host opens it to others)"
    guard = "for whoever has the token" if token else "without authentication; serve.token asks for a token"
    return f"camserve listens on {url} (open to the network, {guard})"


class Server(BaseApplication):  # type: ignore[misc]
    """One worker process on one open socket. opened: called once in the master, when requests get through."""

    def __init__(self, settings: Settings, listener: socket.socket, opened: Callable[[], None]) -> None:
        self.settings, self.opened = settings, opened
        self.bind = f"fd://{listener.detach()}"  # once: a HUP signal reads the settings again
        self.service: Service | None = None
        self.flask: Flask | None = None
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings; of its own sources, files and variables, none is read."""
        serve = self.settings.serve
        values: dict[str, object] = {
            "bind": self.bind,
            "workers": 1,
            "worker_class": Worker,
            "threads": serve.http_threads + Gate(self.settings).places,
            "preload_app": False,
            "graceful_timeout": int(serve.upload_seconds + serve.deadline_seconds + _GRACE_SECONDS),
            "keepalive": 5,
            "sendfile": False,  # it waits for the client
            "loglevel": "warning",
            "logger_class": ServerLogger,
            "proc_name": "camserve",
            "when_ready": lambda server: self.opened(),
            "control_socket_disable": True,
            # of whom headers are taken that change the path or the scheme, whatever FORWARDED_ALLOW_IPS says
            "forwarded_allow_ips": ",".join(serve.proxies),
            "forwarder_headers": "SCRIPT_NAME",
            "proxy_allow_ips": "",
        }
        for name, value in values.items():
            if name in self.cfg.settings:  # the control socket came with gunicorn 25
                self.cfg.set(name, value)

    def load(self) -> "WSGIApplication":
        """The application, made in the worker process; its model is loaded beside the first requests."""
        from camserve.web.app import create_app
        from camserve.web.service import Service

        self.service = service = Service(self.settings)
        give_back_when_idle(service.idle_seconds, service.rest)
        self.service.load_in_background(on_failure=lambda: os._exit(_CANNOT_START))
        self.flask = create_app(service=self.service)
        return closes_connections(self.flask)


def closes_connections(app: "WSGIApplication") -> "WSGIApplication":
    """`app`, with its "Connection: close" heeded: gunicorn drops that header and reads on."""

    def wrapped(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            response = getattr(start_response, "__self__", None)
            if response is not None and ("Connection", "close") in headers:
                response.force_close()
            return start_response(status, headers, *rest)

        return app(environ, start)

    return wrapped
