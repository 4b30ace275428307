"""What the service does with more than it can: requests beyond its capacity, and clients that send a byte now and then.

Parts of load.py. Whatever is asked for beyond what can be done is to be refused at once, and what is taken is to be
answered in time, while health checks stay quick.
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
# As many as keep both cores of a small machine busy, and leave no queue to speak of.
_CLIENTS = 4


def overload(seconds: float) -> Results:
    """Four times as many requests as the service can answer."""
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
    """Clients who send their body, or even their head, a byte now and then, and come again; and two normal ones."""
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
    """What two normal clients were answered, and how the slow ones ended. first: what those send at once."""
    ends: Counter[str] = Counter()
    async with besides(*(drip(address, first, ends) for _ in range(SLOW_CLIENTS))):
        await asyncio.sleep(3)  # by now they have every place they can get
        answers = await in_turn(address, posts(small_photographs()), 2, seconds)
    return answers, ends


async def drip(address: Address, first: bytes, ends: "Counter[str]") -> None:
    """Sends `first`, then a byte now and then; again and again. ends: counts how the service ended it."""
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
    """Coroutines that run beside the block and are given up with it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def small_photographs() -> list[bytes]:
    """JPEG files of 0.2 megapixels."""
    return [jpeg(photo) for photo in photographs(16, (500, 400))]


def capacity_of(service: Running, requests: Iterator[bytes], seconds: float) -> float:
    """Answers a second where clients wait for them."""
    asyncio.run(in_turn(service.address, requests, _CLIENTS, 1))  # warm
    start = time.monotonic()
    answers = asyncio.run(in_turn(service.address, requests, _CLIENTS, seconds))
    return count(answers, 200) / (time.monotonic() - start)


def sent_a_second(answers: list[Answer]) -> float:
    """By the clock of who sent."""
    return (len(answers) - 1) / max(1e-9, answers[-1].began - answers[0].began)


def count(answers: list[Answer], status: int) -> int:
    """How many have that status."""
    return sum(one.status == status for one in answers)


def others(answers: list[Answer], *statuses: int) -> int:
    """How many have none of them."""
    return sum(one.status not in statuses for one in answers)


def counted(values: "Counter[Any]") -> str:
    """Such as "200: 12, 429: 3"."""
    return ", ".join(f"{value}: {number}" for value, number in sorted(values.items())) or "nothing"


def faulty(answers: Iterable[Answer]) -> int:
    """How many say that the service has a fault of its own: not that it has too much to do, or came to it too late."""
    return sum(one.status >= 500 and one.status not in (503, 504) for one in answers)


def statuses(answers: list[Answer]) -> str:
    """Such as "200: 12, 429: 3, TimeoutError: 1"."""
    return counted(Counter(str(one.status or one.failure) for one in answers))


def row_of(answers: list[Answer]) -> Row:
    """How many of each, and how long the answered ones took."""
    found = statuses(answers)
    taken = sorted(1e3 * one.seconds for one in answers if one.status == 200)
    if not taken:
        return {"answers": found}
    low, median, high = spread(taken)
    return {"answers": found, "200, ms (quartiles)": [median, low, high], "slowest, ms": taken[-1]}


def health_row(health: dict[str, Any]) -> Row:
    """The same of health checks."""
    return {"health checks": health["asked"], "their p99, ms": health["p99"], "slowest check, ms": health["slowest"]}


def health_aims(name: str, health: dict[str, Any]) -> list[Aim]:
    """They are all answered, and quickly."""
    return [
        Aim(f"{name}: health checks not answered with 200", health["failed"], 0),
        Aim(f"{name}: milliseconds for the slowest health check", health["slowest"], HEALTH_MILLISECONDS),
    ]
