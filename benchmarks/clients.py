"""Clients for load.py: requests built beforehand, over plain sockets, as they share the cores with what they load.

A request says "Connection: close", so its answer is whole where it is as long as it says and then ends.
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
    """began: of time.monotonic(). status: of HTTP, 0 where no whole answer came. failure: what came instead."""

    began: float
    seconds: float
    status: int
    failure: str = ""


def posts(photos: Sequence[bytes], path: str = "/api/v1/explain", accept: str = "image/jpeg") -> Iterator[bytes]:
    """Requests without end, of which no two have the same bytes: a comment in the JPEG says which it is.

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
    """One request. length: what it says that the body has, where that is not so; kind: of what type it says that is."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {kind}\r\nAccept: {accept}\r\nConnection: close\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


async def ask(address: Address, request: bytes, patience: float = 60) -> Answer:
    """One answer, read to its end and thrown away; never raises for what the other side does."""
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
    """A connection, closed with the block."""
    reader, writer = await asyncio.open_connection(*address, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> int:
    """The status of an answer that is read to its end. Raises EOFError where it is cut short."""
    status, left = told(await reader.readuntil(b"\r\n\r\n"))
    while piece := await reader.read(2**18):
        left -= len(piece)
    if left:
        raise EOFError
    return status


def told(head: bytes) -> tuple[int, int]:
    """Status and length of the body, from the head of an answer. Raises EOFError where it says no length."""
    length = _LENGTH.search(head)
    if length is None:
        raise EOFError
    return int(head.split(None, 2)[1]), int(length[1])


async def at_rate(address: Address, requests: Iterable[bytes], rate: float, seconds: float) -> list[Answer]:
    """So many requests a second, whether or not the ones before have been answered; in the order sent."""
    start, sent = time.monotonic(), []
    gc.disable()  # who pauses for 0.1 s to look for garbage sends all that was due at once afterwards
    try:
        for number, request in zip(range(max(1, int(rate * seconds))), requests, strict=False):
            await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
            sent.append(asyncio.create_task(ask(address, request)))
        return await asyncio.gather(*sent)
    finally:
        gc.enable()


async def in_turn(address: Address, requests: Iterator[bytes], clients: int, seconds: float) -> list[Answer]:
    """So many clients, each of which waits for its answer before it asks again."""
    end, answers = time.monotonic() + seconds, []

    async def client() -> None:
        while time.monotonic() < end:
            answers.append(await ask(address, next(requests)))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers
