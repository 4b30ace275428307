"""gunicorn's threaded worker, changed so that slow clients hold no threads.

gunicorn's own worker uses a thread while a request arrives, and until the client has read the answer. So a few slow
clients, one per thread, would stop the service. It also closes connections on its main thread, and waits up to two
seconds for each client: after forty refused uploads, all other connections would wait for a minute. In this worker, the
main thread waits for all connections at once, both for requests and for answers.
"""

import logging
import re
import selectors
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import TConn, ThreadWorker

from camserve.web.server.bare_answers import bare_answer, head_of
from camserve.web.server.incoming import HEAD_BYTES, Arriving
from camserve.web.server.load_shedding import refused
from camserve.web.server.outgoing import GIVEN_UP, Outgoing, Sending, too_slow
from camserve.web.server.protocol_errors import head_too_long, protocol_problem

log = logging.getLogger(__name__)

# Seconds for a client to read its answer and close. Bytes that it still sends are discarded. If the connection were
# closed at once, with unread bytes, it would be reset and the answer could be lost (RFC 9112, section 9.6).
_LINGER_SECONDS = 2.0
# A thread that runs Python gives way after this time, instead of 5 ms, because a health check waits for it about a
# dozen times. At four times the possible load, this made the slowest health checks a quarter faster, and other answers
# no slower (benchmarks/load.py).
_SWITCH_SECONDS = 0.0005
# Seconds for the head of a request to arrive. After that, the connection is closed without an answer.
_HEAD_SECONDS = 10.0
# Seconds between checks for connections that take too long.
_LOOK_SECONDS = 0.2
_ACCEPTED_AT_ONCE = 32
# The health checks of web/routes/health.py.
PROBE = re.compile(rb"GET /(livez|readyz|healthz|ping|v2/health/live|v2/health/ready) HTTP/1")


class Worker(ThreadWorker):  # type: ignore[misc]
    """Waits for requests, sends answers and closes connections on the main thread, and runs requests on threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[TConn, Arriving] = {}
        self._sending: dict[TConn, Sending] = {}
        self._lingering: dict[TConn, float] = {}
        self._next_look = 0.0
        self._at_work = threading.local()

    def notify(self) -> None:
        """End what takes too long. gunicorn calls this at every event, and at least once a second."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        if self.app.service is not None:
            self.app.service.gate.cut_slow_uploads()
            self.app.service.jobs.forget_old()
        for conn in [conn for conn, until in self._lingering.items() if now > until]:
            self._close(conn)
        for conn in [conn for conn, one in self._arriving.items() if one.needed is None and now > one.until]:
            self._arrived(conn)
            self._end(conn)
        self._give_up_slow_readers()
        super().notify()

    def run(self) -> None:
        """Run until the worker is asked to end and all requests are answered."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        super().run()
        self.app.service.drain()  # also if the signal came before the service existed

    def handle_exit(self, sig: int, frame: object) -> None:
        """On SIGTERM, report "not ready". Accepted requests are still answered."""
        if self.app.service is not None:
            self.app.service.drain()
        super().handle_exit(sig, frame)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Enable or disable accepting. At the end, take the connections that the system has accepted, then close the
        sockets, so that new connections are refused at once.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        while self.sockets:
            listener, before = self.sockets.pop(), -1
            while before != (before := self.nr_conns):
                self.accept(listener)
            listener.close()
        for one in self._arriving.values():
            one.until = min(one.until, time.monotonic() + _LINGER_SECONDS)

    def accept(self, listener: socket.socket) -> None:
        """Accept several waiting connections. One per event, as in gunicorn, would be too slow under load."""
        for _ in range(_ACCEPTED_AT_ONCE):
            before = self.nr_conns
            super().accept(listener)
            if self.nr_conns == before or self.nr_conns >= self.worker_connections:
                return

    def enqueue_req(self, conn: TConn) -> None:
        """Handle a new request: it gets a thread at once if it has arrived; otherwise wait for it first."""
        first = not conn.initialized
        if first:
            conn.sock = Outgoing(conn.sock)
        accepted = self.alive or first  # before the service was asked to end
        conn.init()
        conn.sock.setblocking(False)
        until = time.monotonic() + (_HEAD_SECONDS if self.alive else _LINGER_SECONDS)
        one = Arriving(self.app.service.gate.largest, until)
        one.add(conn.parser.unreader.take_buffered())
        if self._receive(conn, one, accepted):
            self._go_on(conn, one, first)
        else:
            self._arriving[conn] = one
            more = partial(self._receive_more, conn, one, accepted, first)
            self.poller.register(conn.sock, selectors.EVENT_READ, more)

    def _receive(self, conn: TConn, one: Arriving, accepted: bool) -> bool:
        """Whether the request has arrived, or will not arrive any further."""
        ended = False
        try:
            while not (one.here or one.too_long or ended):
                piece = conn.sock.recv(2**16)
                one.add(piece)
                ended = not piece
        except BlockingIOError:
            pass
        except OSError:  # the connection was reset
            ended = True
        if one.has_body:
            self.app.service.gate.begin(conn.sock, accepted)
        return one.here or one.too_long or ended

    def _receive_more(self, conn: TConn, one: Arriving, accepted: bool, first: bool, _: socket.socket) -> None:
        if self._receive(conn, one, accepted):
            self._arrived(conn)
            self._go_on(conn, one, first)

    def _go_on(self, conn: TConn, one: Arriving, first: bool) -> None:
        data, busy = bytes(one.data), self.app.service.gate.refusal() if one.has_body else None
        if one.too_long:
            self._send_off(conn, bare_answer(self.app.flask, head_too_long(HEAD_BYTES), head_of(data), conn.client))
        elif one.needed is None:  # nobody to answer
            self._end(conn)
        elif busy and (answer := refused(self.app.flask, busy, data, conn.client)):
            self._send_off(conn, answer, lingering=not one.is_whole)
        else:
            conn.parser.unreader.unread(data)
            conn.data_ready, conn.begins_with = True, data[:HEAD_BYTES]
            # this thread must never wait, for example for a body, or for a client that does not read earlier answers
            if first and one.is_head and PROBE.match(data):
                self._answer_here(conn)
            else:
                super().enqueue_req(conn)

    def handle(self, conn: TConn) -> object:
        """Handle one request of a connection, on a thread."""
        self._at_work.begins_with = conn.begins_with
        try:
            return super().handle(conn)
        except BaseException as error:  # a network may raise any error, which would end the main thread
            self.handle_error(None, conn.sock, conn.client, error)
            return False

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Answer errors of gunicorn in the form of all other errors."""
        answer = bare_answer(self.app.flask, protocol_problem(exc), head_of(self._at_work.begins_with), addr)
        with suppress(OSError):  # gone already
            write_nonblock(client, answer)

    def _answer_here(self, conn: TConn) -> None:
        """Answer a health check on this thread, so that it does not wait for a free thread."""
        done: Future[object] = Future()
        done.set_result(self.handle(conn))
        self.finish_request(conn, done)

    def _send_off(self, conn: TConn, answer: bytes, *, lingering: bool = True) -> None:
        """Send an answer from this thread, and end the connection. lingering: wait, because bytes may still arrive."""
        with suppress(OSError):  # gone already
            conn.sock.send(answer)
        self.app.service.gate.forget(conn.sock)
        if lingering:
            self._linger(conn)
        else:
            self._end(conn)

    def _arrived(self, conn: TConn) -> None:
        del self._arriving[conn]
        self.poller.unregister(conn.sock)

    def finish_request(self, conn: TConn, fs: "Future[object]") -> None:
        """After an answer is made: send the rest of it, then keep or end the connection. Runs on the main thread."""
        self.app.service.gate.forget(conn.sock)
        if conn.sock.unsent:
            conn.sock.setblocking(False)
            self._sending[conn] = Sending(conn.sock, fs)
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send_more, conn))
        else:
            self._answered(conn, fs)

    def _send_more(self, conn: TConn, _: socket.socket) -> None:
        try:
            conn.sock.send_more()
        except OSError:  # the client has gone
            self._sent(conn)
            self._end(conn)
            return
        if not conn.sock.unsent:
            self._answered(conn, self._sent(conn))

    def _sent(self, conn: TConn) -> "Future[object]":
        self.app.service.gate.forget(conn.sock)
        self.poller.unregister(conn.sock)
        return self._sending.pop(conn).answered

    def _give_up_slow_readers(self) -> None:
        most = self.app.settings.serve.unsent_bytes
        given_up = {one.connection for one in too_slow(self._sending.values(), most)} if self._sending else ()
        for conn in [conn for conn in self._sending if conn.sock in given_up]:
            log.warning(GIVEN_UP, conn.sock.unsent / 2**20, most / 2**20)
            self._sent(conn)
            self._end(conn)

    def _answered(self, conn: TConn, fs: "Future[object]") -> None:
        if fs.cancelled() or fs.exception() is not None or fs.result() is not False:
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Close the sending side, and wait for the client to close its side."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
            self._lingering[conn] = time.monotonic() + _LINGER_SECONDS
        except (OSError, ValueError):  # already closed, by the client or by us
            self._end(conn)

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
        self._end(conn)

    def _end(self, conn: TConn) -> None:
        self.app.service.gate.forget(conn.sock)
        self.nr_conns -= 1
        conn.close()
