"""Clients for load.py: prebuilt requests over plain sockets, because clients and service share the cores.

A request says "Connection: close", so an answer is complete if it has the stated length and then ends.
"""

import asyncio
import gc
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

Address = tuple[str, int]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """began: of time.monotonic(). status: of HTTP, 0 without a complete answer. failure: the error instead."""

    began: float
    seconds: float
    status: int
    failure: str = ""


def posts(photos: Sequence[bytes], path: str = "/api/v1/explain", accept: str = "image/jpeg") -> Iterator[bytes]:
    """Yield endless requests with different bytes: each JPEG has a comment with its number.

    photos: JPEG files.
    """
    for number in itertools.count():
        photo = photos[number % len(photos)]
        text = b"%010d" % number
        comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        yield post(photo[:2] + comment + photo[2:], path, accept)


def post(
    body: bytes, path: str = "/api/v1/explain", accept: str = "*/*", length: int | None = None, kind: str = "image/jpeg"
) -> bytes:
    """Return one request. length: a false Content-Length, if given. kind: the Content-Type."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {kind}\r\nAccept: {accept}\r\nConnection: close\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


async def ask(address: Address, request: bytes, patience: float = 60) -> Answer:
    """Send a request, and read and discard the answer. Errors of the other side are not raised."""
    began, status, failure = time.monotonic(), 0, ""
    try:
        async with asyncio.timeout(patience), opened(address) as (reader, writer):
            writer.write(request)
            status = await ended(reader)
    except (OSError, EOFError, TimeoutError) as error:
        failure = type(error).__name__
    return Answer(began, time.monotonic() - began, status, failure)


@asynccontextmanager
async def opened(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection; it is closed at the end of the block."""
    reader, writer = await asyncio.open_connection(*address, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> int:
    """Read an answer to its end and return its status. Raises EOFError if it is cut short."""
    status, left = told(await reader.readuntil(b"\r\n\r\n"))
    while piece := await reader.read(2**18):
        left -= len(piece)
    if left:
        raise EOFError
    return status


def told(head: bytes) -> tuple[int, int]:
    """Return status and body length from the head of an answer. Raises EOFError without a length."""
    length = _LENGTH.search(head)
    if length is None:
        raise EOFError
    return int(head.split(None, 2)[1]), int(length[1])


async def at_rate(address: Address, requests: Iterable[bytes], rate: float, seconds: float) -> list[Answer]:
    """Send `rate` requests a second without waiting for answers. Returns the answers in the order sent."""
    start, sent = time.monotonic(), []
    gc.disable()  # a pause of 0.1 s for the collector would delay requests and then send them all at once
    try:
        for number, request in zip(range(max(1, int(rate * seconds))), requests, strict=False):
            await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
            sent.append(asyncio.create_task(ask(address, request)))
        return await asyncio.gather(*sent)
    finally:
        gc.enable()


async def in_turn(address: Address, requests: Iterator[bytes], clients: int, seconds: float) -> list[Answer]:
    """Run `clients` clients; each waits for its answer before it asks again."""
    end, answers = time.monotonic() + seconds, []

    async def client() -> None:
        while time.monotonic() < end:
            answers.append(await ask(address, next(requests)))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers
