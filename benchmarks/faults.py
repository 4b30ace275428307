"""How the service handles vanishing clients, SIGTERM during work, and a killed worker process.

Parts of load.py.
"""

import asyncio
import itertools
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from clients import Address, Answer, ask, at_rate, in_turn, post, posts
from measuring import Aim, Results, Table
from overload import besides, capacity_of, count, counted, others, row_of, small_photographs, statuses
from running import FORGETFUL, Running, log_aim, log_tables, running, seconds_until

# A method that runs the network over a thousand times. The service should not compute it for a client that has gone.
LONG = "/api/v1/explain?method=scorecam"
ABANDON_SECONDS, BACK_SECONDS, GONE_SECONDS = 2.0, 15.0, 10.0
KILLS = 3
_RESET = struct.pack("ii", 1, 0)


def vanish(seconds: float) -> Results:
    """Clients connect, send and vanish before their answer, at the rate of the capacity; two clients stay."""
    requests = posts(small_photographs())
    with running(**FORGETFUL) as service:
        capacity = capacity_of(service, requests, 2)
        before = service.holds()
        gone: Counter[str] = Counter()
        answers = asyncio.run(among_vanishing(service.address, requests, capacity, seconds, gone))
        seconds_until(lambda: service.busy() == 0)
        time.sleep(3)  # connections are closed within two
        after, left = service.holds(), abandoned_after(service)
        complaints = service.complaints()
    row = {"gone": counted(gone), **row_of(answers)}
    holds = [{"when": when, **held} for when, held in (("before", before), ("after", after))]
    aims = [
        Aim("vanish: requests of clients that stay, answered", count(answers, 200), 1, at_least=True),
        Aim("vanish: of clients that stay, neither answered nor refused with 429", others(answers, 200, 429), 0),
        Aim("vanish: descriptors that stay open", after["descriptors"] - before["descriptors"], 0),
        Aim("vanish: seconds until nothing is computed for clients that are gone", left, ABANDON_SECONDS),
        log_aim("vanish", complaints),
    ]
    tables = [Table(f"Clients that disappear, {seconds:g} s", [row]), Table("What the worker process holds", holds)]
    return Results(tables + log_tables(complaints), aims)


async def among_vanishing(
    address: Address, requests: Iterator[bytes], rate: float, seconds: float, gone: "Counter[str]"
) -> list[Answer]:
    """Return the answers of two clients that stay, while others come and go at `rate`."""

    async def coming() -> None:
        for way in itertools.cycle(WAYS):
            task = asyncio.create_task(disappear(address, next(requests), way))
            task.add_done_callback(lambda task, way=way: gone.update([way]))
            await asyncio.sleep(1 / rate)

    async with besides(coming()):
        return await in_turn(address, requests, 2, seconds)


# By name: the share that is sent, seconds to wait then, and whether the connection is reset instead of closed.
WAYS = {
    "all sent, closed at once": (1.0, 0.0, False),
    "all sent, closed soon": (1.0, 0.03, False),
    "all sent, reset": (1.0, 0.01, True),
    "half sent, closed": (0.5, 0.01, False),
    "half sent, reset": (0.5, 0.01, True),
    "a piece of the head, closed": (0.001, 0.01, False),
}


async def disappear(address: Address, request: bytes, way: str) -> None:
    """Run one client that does not wait for its answer."""
    share, wait, reset = WAYS[way]
    with suppress(OSError), socket.socket() as connection:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, request[: max(20, int(share * len(request)))])
        await asyncio.sleep(wait)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def abandoned_after(service: Running, clients: int = 6) -> float:
    """Return the seconds until the service is idle again, after `clients` clients with long requests have gone."""
    request = post(small_photographs()[0], LONG)
    connections = [socket.create_connection(service.address) for _ in range(clients)]
    for connection in connections:
        connection.sendall(request)
    seconds_until(lambda: service.busy() >= len(connections), 5)
    time.sleep(0.5)  # by now the first ones are computed
    for connection in connections:
        connection.close()
    return seconds_until(lambda: service.busy() == 0)


def term(seconds: float) -> Results:
    """Send SIGTERM during a load of twice the capacity."""
    requests = posts(small_photographs())
    with running(**FORGETFUL) as service:
        rate = 2 * capacity_of(service, requests, 2)
        answers, told, took = asyncio.run(through_term(service, requests, rate, seconds))
        code, complaints = service.popen.returncode, service.complaints()
    # Requests sent close to the signal may have arrived before or after it.
    before = [one for one in answers if one.began < told - 0.1]
    after = [one for one in answers if one.began > told + 0.1]
    rows = [{"sent": "before SIGTERM", **row_of(before)}, {"sent": "after", **row_of(after)}]
    aims = [
        Aim("SIGTERM: requests sent before it, neither answered nor refused with 429", others(before, 200, 429), 0),
        Aim("SIGTERM: requests sent after it and taken", count(after, 200) + count(after, 429), 0),
        Aim("SIGTERM: requests sent after it that were left without a word", left_alone(after), 0),
        Aim("SIGTERM: seconds until the process is gone", took, GONE_SECONDS),
        Aim("SIGTERM: exit status", code, 0),
        log_aim("SIGTERM", complaints),
    ]
    title = f"SIGTERM at twice the capacity, {rate:.0f} requests a second"
    return Results([Table(title, rows), *log_tables(complaints)], aims)


async def through_term(
    service: Running, requests: Iterator[bytes], rate: float, seconds: float
) -> tuple[list[Answer], float, float]:
    """Return all answers, the time of the signal, and the seconds until the process ended."""
    load = asyncio.create_task(at_rate(service.address, requests, rate, seconds))
    await asyncio.sleep(seconds / 2)
    told = time.monotonic()
    service.popen.send_signal(signal.SIGTERM)
    await asyncio.to_thread(service.popen.wait, 120)
    took = time.monotonic() - told
    return await load, told, took


def left_alone(answers: list[Answer]) -> int:
    """Count requests with neither an answer nor a refused connection."""
    return sum(one.status == 0 and one.failure != "ConnectionRefusedError" for one in answers)


def kill(_: float) -> Results:
    """Kill the worker process with kill -9 three times, while a client keeps asking."""
    requests, rows = posts(small_photographs()), []
    with running(**FORGETFUL) as service:
        for number in range(1, KILLS + 1):
            first = service.worker
            assert first is not None
            os.kill(first, signal.SIGKILL)
            start = time.monotonic()
            alive = seconds_until(lambda first=first: service.worker not in (None, first))
            answers = asyncio.run(until_answered(service.address, requests, start + 60))
            rows.append(
                {"kill": number, "another worker, s": alive, "first answer, s": time.monotonic() - start}
                | {"until then": statuses(answers)}
            )
        complaints = service.complaints()
    slowest = max(row["first answer, s"] for row in rows)
    aims = [
        Aim("kill -9: seconds until a request is answered again", slowest, BACK_SECONDS),
        log_aim("kill -9", complaints),
    ]
    return Results([Table("kill -9 of the worker process", rows), *log_tables(complaints)], aims)


async def until_answered(address: Address, requests: Iterator[bytes], end: float) -> list[Answer]:
    """Ask five times a second until an answer has status 200."""
    answers: list[Answer] = []
    while time.monotonic() < end and not count(answers, 200):
        answers.append(await ask(address, next(requests)))
        await asyncio.sleep(0.2)
    return answers
