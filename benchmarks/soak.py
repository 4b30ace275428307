"""Does anything grow while the service works for a long time? Part of load.py.

Four clients ask without pause for overlays of photographs of 0.05 to 2 megapixels, all different, as JPEG, PNG and
JSON; other clients disappear, or send bytes that are not an image. The service has its default settings: its cache of
maps fills and drops old maps. Every few seconds the memory of the worker process is read from /proc.
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
# During this first share of the time, memory, caches and pools fill.
_WARM = 0.2
GROWTH_MB = 30.0
# Allowed growth: a pool starts threads up to its limit if all are busy; connections come and go.
MORE = 2


def soak(minutes: float) -> Results:
    """Run minutes of everything, and measure what the process holds at the end."""
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
    """Return the clients' answers, and what the worker held meanwhile."""
    requests = mixed()
    samples: list[Row] = []
    async with besides(sampling(service, seconds, samples), nuisance(service.address, mixed())):
        answers = await in_turn(service.address, requests, CLIENTS, seconds)
    return answers, samples


def mixed() -> Iterator[bytes]:
    """Yield requests of every size and kind in turn."""
    photos = [jpeg(photo) for size in SIZES for photo in photographs(4, size)]
    kinds = [posts(photos[number:] + photos[:number], accept=kind) for number, kind in enumerate(KINDS)]
    return (next(kind) for kind in itertools.cycle(kinds))


async def sampling(service: Running, seconds: float, samples: list[Row]) -> None:
    """Record every few seconds what the worker process holds."""
    start = time.monotonic()
    while True:
        samples.append({"minutes": round((time.monotonic() - start) / 60, 2), **service.holds()})
        await asyncio.sleep(seconds / SAMPLES)


async def nuisance(address: Address, requests: Iterator[bytes]) -> None:
    """Twice a second, run a client that disappears, or that sends bytes that are not an image."""
    for way in itertools.cycle((*WAYS, None)):
        if way is None:
            await ask(address, post(b"no image"))
        else:
            await disappear(address, next(requests), way)
        await asyncio.sleep(0.5)


def grown(what: str, first: list[Row], last: list[Row]) -> float:
    """Return the median of the last samples minus that of the first samples."""
    return median(row[what] for row in last) - median(row[what] for row in first)
