"""Is memory given back after requests that need a lot of memory at once? Part of load.py."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from clients import Address, ask
from hostile import SIZES, fifty_megapixels, large_answer, sized
from measuring import Aim, Results, Row, Table
from overload import counted, statuses
from readers import read_slowly
from running import Running, log_aim, log_tables, running

UPLOADS, READERS = 24, 60
REST_SECONDS, LEFT_MB = 10.0, 150.0
Load = Callable[[Address], Coroutine[Any, Any, str]]


def memory(seconds: float) -> Results:
    """Measure what the worker process holds 10 s after 24 uploads of 50 megapixels, rising sizes, and slow readers."""
    loads: dict[str, Load] = {
        f"{UPLOADS} uploads of 50 MP": lambda address: at_once(address, UPLOADS * [fifty_megapixels()]),
        f"{UPLOADS} more": lambda address: at_once(address, UPLOADS * [fifty_megapixels(red=10_000)]),
        f"sizes {SIZES[0]} to {SIZES[-1]}": in_order,
        f"{READERS} slow readers": lambda address: slowly(address, seconds / 3),
    }
    with running() as service:
        asyncio.run(warm(service.address))
        time.sleep(REST_SECONDS)
        before = service.holds()["MB"]
        rows: list[Row] = [{"load": "none", "peak, MB": before, "10 s after, MB": before, "more than before, MB": 0.0}]
        rows += [after(service, what, load, before) for what, load in loads.items()]
        complaints = service.complaints()
        service.end_now()
    aims = [
        Aim(f"memory: MB more than before, 10 s after {row['load']}", row["more than before, MB"], LEFT_MB)
        for row in rows[1:]
    ]
    table = Table("What the worker process holds", rows, f"once warm; readers for {seconds / 3:g} s")
    return Results([table, *log_tables(complaints)], [*aims, log_aim("memory", complaints)])


def after(service: Running, what: str, load: Load, before: float) -> Row:
    """Measure the peak during `load`, and the memory held 10 s after its last answer."""
    service.forget_peak()
    start = time.monotonic()
    answers = asyncio.run(load(service.address))
    took, peak = time.monotonic() - start, service.peak()
    time.sleep(REST_SECONDS)
    held = service.holds()["MB"]
    row: Row = {"load": what, "answers": answers, "seconds": took, "peak, MB": peak}
    return row | {"10 s after, MB": held, "more than before, MB": held - before}


async def warm(address: Address) -> None:
    """Send one request of each kind."""
    for request in (fifty_megapixels(red=0), sized(SIZES[0]), large_answer()):
        await ask(address, request)


async def at_once(address: Address, requests: list[bytes]) -> str:
    """Send all requests at once."""
    answers = await asyncio.gather(*(ask(address, request, 120) for request in requests))
    return statuses(answers)


async def in_order(address: Address) -> str:
    """Send a request for each size, in order."""
    answers = [await ask(address, sized(size)) for size in SIZES]
    return statuses(answers)


async def slowly(address: Address, seconds: float) -> str:
    """Run slow readers of large answers."""
    ends: Counter[str] = Counter()
    await read_slowly(address, READERS, seconds, ends)
    return counted(ends)
