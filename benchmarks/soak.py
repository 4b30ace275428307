"""Does anything grow while the service works for long? Part of load.py.

Four clients ask without pause for overlays of photographs of 0.05 to 2 megapixels, no two alike, as JPEG, PNG and JSON;
others disappear, and send what is no image. The service keeps its settings as they come: its memory of maps is filled
and forgets. Every few seconds /proc says what the worker process holds.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from statistics import median

from clients import Address, Answer, ask, in_turn, post, posts
from faults import WAYS, disappear
from measuring import Aim, Results, Row, Table
from overload import besides, others, statuses
from running import Running, log_aim, log_tables, running
from subjects import jpeg, photographs

SIZES = ((256, 192), (500, 400), (1154, 866), (1632, 1224))
KINDS = ("image/jpeg", "image/png", "application/json")
CLIENTS, SAMPLES, ROWS = 4, 240, 10
# The first share of the time fills memory, caches and pools.
_WARM = 0.2
GROWTH_MB = 30.0
# A pool makes a thread when all it has are busy, at most as many as it is allowed; connections come and go.
MORE = 2


def soak(minutes: float) -> Results:
    """Minutes of everything: what does the process hold at the end?"""
    seconds = 60 * minutes
    with running() as service:
        answers, samples = asyncio.run(used(service, seconds))
        complaints = service.complaints()
    warm = samples[int(_WARM * len(samples)) :]
    part = max(1, len(warm) // 4)
    first, last = warm[:part], warm[-part:]
    shown = [*samples[:: max(1, len(samples) // ROWS)], samples[-1]]
    tables = [
        Table(f"Answers in {minutes:g} minutes", [{"answers": statuses(answers), "a second": len(answers) / seconds}]),
        Table("What the worker process holds", shown),
    ]
    aims = [
        Aim("soak: answers other than 200, and lost ones", others(answers, 200), 0),
        Aim("soak: MB that the resident set grew, once warm", grown("MB", first, last), GROWTH_MB),
        Aim("soak: threads more at the end, once warm", grown("threads", first, last), MORE),
        Aim("soak: descriptors more at the end, once warm", grown("descriptors", first, last), MORE),
        log_aim("soak", complaints),
    ]
    return Results(tables + log_tables(complaints), aims)


async def used(service: Running, seconds: float) -> tuple[list[Answer], list[Row]]:
    """What the clients were answered, and what the worker held meanwhile."""
    requests = mixed()
    samples: list[Row] = []
    async with besides(sampling(service, seconds, samples), nuisance(service.address, mixed())):
        answers = await in_turn(service.address, requests, CLIENTS, seconds)
    return answers, samples


def mixed() -> Iterator[bytes]:
    """Requests of every size and kind in turn."""
    photos = [jpeg(photo) for size in SIZES for photo in photographs(4, size)]
    kinds = [posts(photos[number:] + photos[:number], accept=kind) for number, kind in enumerate(KINDS)]
    return (next(kind) for kind in itertools.cycle(kinds))


async def sampling(service: Running, seconds: float, samples: list[Row]) -> None:
    """Every few seconds what the worker process holds."""
    start = time.monotonic()
    while True:
        samples.append({"minutes": round((time.monotonic() - start) / 60, 2), **service.holds()})
        await asyncio.sleep(seconds / SAMPLES)


async def nuisance(address: Address, requests: Iterator[bytes]) -> None:
    """Twice a second a client that disappears, or sends what is no image."""
    for way in itertools.cycle((*WAYS, None)):
        if way is None:
            await ask(address, post(b"no image"))
        else:
            await disappear(address, next(requests), way)
        await asyncio.sleep(0.5)


def grown(what: str, first: list[Row], last: list[Row]) -> float:
    """By how much the median of the last samples is more than that of the first."""
    return median(row[what] for row in last) - median(row[what] for row in first)
