"""Faulty files and requests, all different: does each get a proper answer? Part of load.py."""

import asyncio
import base64
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial
from random import Random

import hostile
from attack import given
from clients import Address, Answer, ask, post
from measuring import Aim, Results, Row, Table
from overload import faulty, statuses
from running import log_aim, log_tables, running
from subjects import photographs

CLIENTS = 8
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
PATHS = (
    "/api/v1/explain", "/api/v1/explain/classes", "/api/v1/explain/forecast", "/invocations",
    *(f"/{path}" for path in (f"v1/models/{hostile.MODEL}:predict", f"v2/models/{hostile.MODEL}/infer")),
)  # fmt: skip
# If a mutated head promises more bytes than arrive, the service answers only after it gives up waiting.
_PATIENCE = 2.0
_SHOWN = 5


def inputs(seconds: float) -> Results:
    """Send mutated files of every format, JSON, heads and chunks to every path, and count the answers."""
    with running() as service:
        worker, before = service.worker, asyncio.run(given(service.address))
        found = asyncio.run(tried(service.address, seconds))
        after, complaints = asyncio.run(given(service.address)), service.complaints()
        lost = int(service.worker != worker)
        service.end_now()
    every = [one for answers in found.values() for one in answers.values()]
    rows = [
        {"inputs": kind, "tried": len(answers), "ended with": statuses(list(answers.values()))}
        for kind, answers in found.items()
    ]
    aims = [
        Aim("inputs: tried", len(every), 1, at_least=True),
        Aim("inputs: answers of 5xx other than 503 and 504", faulty(every), 0),
        Aim("inputs: reference answer of other bytes afterwards", int(before is None or before != after), 0),
        Aim("inputs: worker processes lost", lost, 0),
        log_aim("inputs", complaints),
    ]
    return Results([Table(f"Inputs tried, {seconds:g} s", rows), *faults(found), *log_tables(complaints)], aims)


Found = dict[str, dict[int, Answer]]


async def tried(address: Address, seconds: float) -> Found:
    """Return the answer to each input by kind and number; a few clients send them, kind after kind."""
    end, found, numbers = time.monotonic() + seconds, defaultdict[str, dict[int, Answer]](dict), iter(range(10**9))

    async def client() -> None:
        while time.monotonic() < end:
            number = next(numbers)
            kind = list(KINDS)[number % len(KINDS)]
            found[kind][number] = await ask(address, made(kind, number), _PATIENCE)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return dict(sorted(found.items()))


def made(kind: str, number: int) -> bytes:
    """Return the request of that number, always the same."""
    return KINDS[kind](Random(number))


def faults(found: Found) -> list[Table]:
    """Return a table of the first inputs that the service answered with 5xx; `made` makes them again."""
    rows: list[Row] = [
        {"input": f"made({kind!r}, {number})", "answer": one.status}
        for kind, answers in found.items()
        for number, one in answers.items()
        if faulty([one])
    ]
    return [Table("Not answered properly", rows[:_SHOWN])] if rows else []


# ---- what is tried


def mutated(data: bytes, rng: Random) -> bytes:
    """Change, remove, double or insert a few bytes of `data`, mostly near its beginning; or cut it short."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = int(len(found) * rng.random() ** rng.choice((1, 4)))
        size = rng.choice((1, 1, 2, 4, 16))
        match rng.randrange(5):
            case 0:
                found[place : place + size] = rng.randbytes(size)
            case 1:
                found[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
            case 2:
                del found[place : place + size]
            case 3:
                found[place:place] = found[place : place + size]
            case 4:
                found[place : place + 1] = bytes([found[place] ^ 1 << rng.randrange(8)]) if place < len(found) else b""
    return bytes(found[: rng.randrange(len(found) + 1)] if rng.random() < 0.1 else found)


def _file(form: str, rng: Random) -> bytes:
    return post(mutated(_picture(form), rng), rng.choice(PATHS), kind="application/octet-stream")


def _json(rng: Random) -> bytes:
    return hostile.predict(mutated(_body(), rng), rng.choice(PATHS))


def _head(rng: Random) -> bytes:
    head, _, body = post(_picture("JPEG"), f"{rng.choice(PATHS)}?target=tabby&alpha=0.5").partition(b"\r\n\r\n")
    return mutated(head, rng) + b"\r\n\r\n" + body


def _chunks(rng: Random) -> bytes:
    photo = _picture("JPEG")
    return hostile.chunked(mutated(b"%x\r\n" % len(photo), rng) + photo + mutated(b"\r\n0\r\nX-Sum: 5\r\n\r\n", rng))


@cache
def _picture(form: str) -> bytes:
    buffer = io.BytesIO()
    photographs(1, (96, 64))[0].save(buffer, form)
    return buffer.getvalue()


@cache
def _body() -> bytes:
    image = base64.b64encode(_picture("JPEG")).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [image]}
    options = {"target": "tabby", "outputs": ["overlay"], "alpha": 0.5, "format": "png", "polygons": True}
    return json.dumps({"parameters": options, "instances": [{"b64": image}], "inputs": [tensor]}).encode()


# By name: a function that makes one raw request from a random source.
KINDS: dict[str, Callable[[Random], bytes]] = {
    **{f"{form} files": partial(_file, form) for form in FORMATS},
    "JSON": _json,
    "heads": _head,
    "chunks": _chunks,
}
