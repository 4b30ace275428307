"""How the service handles overload: requests beyond its capacity, and clients that send slowly, byte by byte.

Parts of load.py. The service must refuse requests beyond its capacity at once, and answer accepted requests in time,
while health checks stay quick.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from clients import Address, Answer, at_rate, in_turn, opened, post, posts, told
from measuring import Aim, Results, Row, Table, spread
from running import FORGETFUL, Running, log_aim, log_tables, probed, running
from subjects import jpeg, photographs

TIMES_CAPACITY = 4
SLOW_CLIENTS, PAUSE = 64, 0.5
DEADLINE_SECONDS, HEALTH_MILLISECONDS = 30.0, 100.0
# Enough clients to keep both cores of a small machine busy, with almost no queue.
_CLIENTS = 4


def overload(seconds: float) -> Results:
    """Send four times as many requests as the service can answer."""
    requests = posts(small_photographs())
    with running(**FORGETFUL) as service:
        capacity = capacity_of(service, requests, max(1, min(10, seconds / 4)))
        with probed(service) as health:
            answers = asyncio.run(at_rate(service.address, requests, TIMES_CAPACITY * capacity, seconds))
        complaints = service.complaints()
    row = {"capacity, a second": capacity, "sent, a second": sent_a_second(answers), **row_of(answers)}
    title = f"{seconds:g} s at {TIMES_CAPACITY} times capacity, photographs of 500 x 400"
    aims = [
        Aim("overload: times capacity that was sent", sent_a_second(answers) / capacity, 0.9 * TIMES_CAPACITY, True),
        Aim("overload: answers other than 200 and 429, and lost ones", others(answers, 200, 429), 0),
        Aim("overload: seconds for the slowest answer", max(one.seconds for one in answers), DEADLINE_SECONDS),
        *health_aims("overload", health),
        log_aim("overload", complaints),
    ]
    return Results([Table(title, [row | health_row(health)]), *log_tables(complaints)], aims)


def slow(seconds: float) -> Results:
    """Run clients that send body or head slowly, byte by byte, and then come again; and two normal clients."""
    results = Results()
    head, _, _ = post(b"", length=9999).partition(b"\r\n\r\n")
    for what, first in (("bodies", head + b"\r\n\r\n"), ("heads", head[:40])):
        with running(**FORGETFUL) as service:
            with probed(service) as health:
                answers, ends = asyncio.run(beside_slow(service.address, first, seconds))
            complaints = service.complaints()
        row = {"slow": what, "slow ones ended with": counted(ends), **row_of(answers), **health_row(health)}
        name = f"slow {what}"
        results.tables.append(Table(f"{SLOW_CLIENTS} clients with slow {what}, {seconds:g} s", [row]))
        results.aims += [
            Aim(f"{name}: normal requests answered", count(answers, 200), 1, at_least=True),
            Aim(f"{name}: normal requests refused or lost", others(answers, 200), 0),
            *health_aims(name, health),
            log_aim(name, complaints),
        ]
        results.tables += log_tables(complaints)
    return results


async def beside_slow(address: Address, first: bytes, seconds: float) -> tuple[list[Answer], "Counter[str]"]:
    """Return the answers of two normal clients, and how slow clients ended. first: what slow clients send at once."""
    ends: Counter[str] = Counter()
    async with besides(*(drip(address, first, ends) for _ in range(SLOW_CLIENTS))):
        await asyncio.sleep(3)  # by now they hold all places that they can get
        answers = await in_turn(address, posts(small_photographs()), 2, seconds)
    return answers, ends


async def drip(address: Address, first: bytes, ends: "Counter[str]") -> None:
    """Send `first`, then slowly byte by byte, repeatedly. ends: counts how the service ended it."""
    while True:
        end = "cut"
        with suppress(OSError, EOFError):
            async with opened(address) as (reader, writer):
                writer.write(first)
                reading = asyncio.create_task(reader.read())
                while not reading.done():
                    await asyncio.wait([reading], timeout=PAUSE)
                    writer.write(b"x")
                end = str(told(await reading)[0])
        ends[end] += 1
        await asyncio.sleep(PAUSE)


@asynccontextmanager
async def besides(*works: Any) -> Any:
    """Run coroutines during the block; they are cancelled at its end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def small_photographs() -> list[bytes]:
    """Return JPEG files of 0.2 megapixels."""
    return [jpeg(photo) for photo in photographs(16, (500, 400))]


def capacity_of(service: Running, requests: Iterator[bytes], seconds: float) -> float:
    """Return answers a second if clients wait for their answers."""
    asyncio.run(in_turn(service.address, requests, _CLIENTS, 1))  # warm
    start = time.monotonic()
    answers = asyncio.run(in_turn(service.address, requests, _CLIENTS, seconds))
    return count(answers, 200) / (time.monotonic() - start)


def sent_a_second(answers: list[Answer]) -> float:
    """Return requests sent per second, by the clients' clock."""
    return (len(answers) - 1) / max(1e-9, answers[-1].began - answers[0].began)


def count(answers: list[Answer], status: int) -> int:
    """Count the answers with this status."""
    return sum(one.status == status for one in answers)


def others(answers: list[Answer], *statuses: int) -> int:
    """Count the answers with none of these statuses."""
    return sum(one.status not in statuses for one in answers)


def counted(values: "Counter[Any]") -> str:
    """Return counts as text, such as "200: 12, 429: 3"."""
    return ", ".join(f"{value}: {number}" for value, number in sorted(values.items())) or "nothing"


def faulty(answers: Iterable[Answer]) -> int:
    """Count the answers that report a fault of the service: 5xx except 503 and 504."""
    return sum(one.status >= 500 and one.status not in (503, 504) for one in answers)


def statuses(answers: list[Answer]) -> str:
    """Return statuses and failures as text, such as "200: 12, 429: 3, TimeoutError: 1"."""
    return counted(Counter(str(one.status or one.failure) for one in answers))


def row_of(answers: list[Answer]) -> Row:
    """Return a row with the counts, and the times of answered requests."""
    found = statuses(answers)
    taken = sorted(1e3 * one.seconds for one in answers if one.status == 200)
    if not taken:
        return {"answers": found}
    low, median, high = spread(taken)
    return {"answers": found, "200, ms (quartiles)": [median, low, high], "slowest, ms": taken[-1]}


def health_row(health: dict[str, Any]) -> Row:
    """Return a row about health checks."""
    return {"health checks": health["asked"], "their p99, ms": health["p99"], "slowest check, ms": health["slowest"]}


def health_aims(name: str, health: dict[str, Any]) -> list[Aim]:
    """Return the aims that all health checks are answered quickly."""
    return [
        Aim(f"{name}: health checks not answered with 200", health["failed"], 0),
        Aim(f"{name}: milliseconds for the slowest health check", health["slowest"], HEALTH_MILLISECONDS),
    ]
