"""How the service handles clients that read their answers slowly. Part of load.py."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator

from clients import Address, told
from hostile import large_answer
from measuring import Results
from normal import quiet, watched
from overload import besides, counted
from running import log_aim, log_tables, running

READERS, BYTES_A_SECOND = 58, 40_000
# Seconds between two normal requests of one client: they are rare, so that only the readers load the service.
PAUSE = 0.25
_QUIET_SECONDS = 10.0


def readers(seconds: float) -> Results:
    """58 clients that read answers of 24 MB at 40 kB a second, and normal requests at a low rate."""
    ends: Counter[str] = Counter()
    with running() as service:
        before = quiet(service, min(_QUIET_SECONDS, seconds), PAUSE)
        with watched(service, PAUSE) as seen:
            asyncio.run(read_slowly(service.address, READERS, seconds, ends))
        complaints = service.complaints()
        service.end_now()
    title = f"{READERS} slow readers, {seconds:g} s, ended with {counted(ends)}"
    aims = [*seen.aims("readers", before), log_aim("readers", complaints)]
    return Results([seen.table(title, before), *log_tables(complaints)], aims)


async def read_slowly(address: Address, clients: int, seconds: float, ends: "Counter[str]") -> None:
    """Run `clients` slow readers for `seconds` seconds. ends: counts how they ended."""
    request = large_answer()
    async with besides(*(sip(address, request, ends) for _ in range(clients))):
        await asyncio.sleep(seconds)


async def sip(address: Address, request: bytes, ends: "Counter[str]") -> None:
    """Read an answer slowly until the service ends it, and ask again. ends: counts how that ended."""
    while True:
        end = "waiting"
        try:
            async for now in sips(address, request):
                end = now
                await asyncio.sleep(1)
        except (OSError, EOFError) as error:
            end = f"{end}, {type(error).__name__}"
        except asyncio.CancelledError:
            ends[f"{end} at the end"] += 1
            raise
        ends[end] += 1
        await asyncio.sleep(1)


async def sips(address: Address, request: bytes) -> AsyncIterator[str]:
    """Yield the state once a second, and read a second's bytes each time. Needs almost no CPU."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        # Without this, the system would buffer the first megabytes for the client.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BYTES_A_SECOND)
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, request)
        head, _, body = (await loop.sock_recv(connection, BYTES_A_SECOND)).partition(b"\r\n\r\n")
        status, left = told(head)
        left -= len(body)
        while left > 0:
            yield f"{status}, reading"
            piece = await loop.sock_recv(connection, BYTES_A_SECOND)
            left -= len(piece)
            if not piece:
                break
        yield f"{status}, {'cut' if left else 'whole'}"
