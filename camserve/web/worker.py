"""gunicorn's threaded worker, held to what this service promises.

As it comes, it ends a connection on its one main thread by waiting up to two seconds for the client to close: forty
refused uploads would keep every other connection waiting for a minute. Here the main thread waits for all of them at
once.
"""

import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

# Seconds for a client to read its answer and close; what it still sends is thrown away. Closed at once, with bytes
# unread, the connection would be reset and the answer lost on the way (RFC 9112, section 9.6).
_LINGER_SECONDS = 2.0


class Worker(ThreadWorker):  # type: ignore[misc]
    """Tells the service the time, and when it is asked to end; closes connections without waiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: dict[TConn, float] = {}

    def notify(self) -> None:
        """About once a second, whatever the threads do."""
        if self.app.service is not None:
            self.app.service.gate.cut_slow_uploads()
        for conn in [conn for conn, until in self._lingering.items() if time.monotonic() > until]:
            self._close(conn)
        super().notify()

    def handle_exit(self, sig: int, frame: object) -> None:
        """SIGTERM: not ready any more; what is accepted is still answered."""
        if self.app.service is not None:
            self.app.service.drain()
        super().handle_exit(sig, frame)

    def finish_request(self, conn: TConn, fs: "Future[object]") -> None:
        """An answer is sent, on the main thread: keep the connection, or say that it is over."""
        if fs.cancelled() or fs.exception() is not None or fs.result() is not False:
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
            self._lingering[conn] = time.monotonic() + _LINGER_SECONDS
        except (OSError, ValueError):  # closed by the client, or already
            self.nr_conns -= 1
            conn.close()

    def _drain(self, conn: TConn, connection: socket.socket) -> None:
        try:
            ended = not connection.recv(2**16)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        del self._lingering[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
