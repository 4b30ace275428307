"""Bytes sent to a service as no client would send them."""

import socket
from contextlib import suppress
from typing import NamedTuple

# Beside 127.0.0.1, another address of this machine: who asks from there is a proxy that
# the fixture `attacked` believes.
PROXY = "127.0.0.2"
# Seconds without a word after which a client closes its half, as who has sent too little waits for nothing.
_PATIENCE = 0.4


class Raw(NamedTuple):
    """What came back. status: 0 where nothing did. given_up: whether the client had closed its half before."""

    status: int
    headers: dict[str, str]
    body: bytes
    given_up: bool


def ask_raw(address: tuple[str, int], *pieces: bytes, source: str = "127.0.0.1", patience: float = _PATIENCE) -> Raw:
    """Send bytes, whatever they are, and read the first answer."""
    with socket.create_connection(address, timeout=patience, source_address=(source, 0)) as connection:
        data, given_up = bytearray(), False
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for piece in pieces:
                connection.sendall(piece)
        while True:
            try:
                data += (piece := connection.recv(2**16))
            except TimeoutError:
                if data and _is_whole(bytes(data)):
                    break
                if not given_up:
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(40)
                    given_up = True
                    continue
                raise
            except ConnectionResetError:
                break
            if not piece or _is_whole(bytes(data)):
                break
        return _parsed(bytes(data), given_up)


def _is_whole(data: bytes) -> bool:
    answer = _parsed(data, given_up=False)
    return bool(answer.status) and len(answer.body) >= int(answer.headers.get("content-length", 10**9))


def _parsed(data: bytes, given_up: bool) -> Raw:
    if data.startswith(b"HTTP/1.1 100 "):
        data = data.partition(b"\r\n\r\n")[2]
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/"):
        return Raw(0, {}, data, given_up)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Raw(int(lines[0].split()[1]), headers, body, given_up)
