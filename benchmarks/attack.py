"""All kinds of abuse at once: are normal requests and health checks answered as usual? Part of load.py."""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

import hostile
from clients import Address, Answer, ask, opened, post, posts, told
from faults import WAYS, disappear
from measuring import Aim, Results, Row, Table
from normal import quiet, watched
from overload import besides, counted, drip, faulty, small_photographs, statuses
from readers import READERS, sip
from returned import LEFT_MB, REST_SECONDS, warm
from running import log_aim, log_tables, running

SLOW_CLIENTS = 32
_PATIENCE, _REFERENCE_EVERY = 60.0, 2.0


@dataclass(frozen=True)
class Kind:
    """clients: how many send `requests`, again and again. pause: seconds between an answer and the next request."""

    clients: int
    requests: Sequence[bytes]
    pause: float = 0.5


@dataclass
class Heard:
    """answers: by the kind of attack. ends: how slow and vanishing clients ended, by kind.

    reference: answers to one repeated request, as bytes; None for a refused request.
    """

    answers: defaultdict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    ends: "defaultdict[str, Counter[str]]" = field(default_factory=lambda: defaultdict(Counter))
    reference: list[bytes | None] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Return the results of each kind of attack, and of the reference."""
        rows: list[Row] = []
        for kind, found in self.answers.items():
            slowest = max((one.seconds for one in found), default=0.0)
            rows.append({"attack": kind, "slowest, s": slowest, "ended with": statuses(found)})
        rows += [{"attack": kind, "ended with": counted(ends)} for kind, ends in self.ends.items()]
        given = Counter(
            "none" if one is None else "same" if one == self.reference[0] else "other" for one in self.reference
        )
        return [*rows, {"attack": "none: a reference answer", "ended with": counted(given)}]

    def different(self) -> int:
        """Count reference answers that differ from the first one, and missing answers at the beginning or the end."""
        first, *_, last = self.reference
        return sum(one not in (first, None) for one in self.reference) + (first is None) + (last is None)


def kinds() -> dict[str, Kind]:
    """Return the kinds of clients that wait for their answer."""
    outputs = "?outputs=overlay,heatmap,mask"
    return {
        "50 megapixels in 0.5 MB": Kind(4, [hostile.fifty_megapixels(), hostile.fifty_megapixels(outputs)]),
        "output_stride=1": Kind(2, [hostile.dilated()]),
        "polygons of 1000 classes": Kind(1, [hostile.polygons()]),
        "scorecam of 12 MP": Kind(1, [hostile.scorecam()]),
        "150,000 images of one pixel": Kind(1, [hostile.predict(hostile.many_instances())], 2),
        "JSON of faults": Kind(1, hostile.faulty_json(), 1),
        "every size": Kind(1, [hostile.sized(size) for size in hostile.SIZES]),
        "malformed chunks": Kind(2, [hostile.chunked(chunks) for chunks in hostile.MALFORMED]),
        "trailers, SCRIPT_NAME, absurd numbers": Kind(2, hostile.odd()),
    }


def attack(seconds: float) -> Results:
    """Slow readers, bodies and heads, bombs, expensive work, malformed requests and vanishing clients, all at once."""
    heard = Heard()
    with running() as service:
        asyncio.run(warm(service.address))
        time.sleep(REST_SECONDS)
        worker, held = service.worker, service.holds()["MB"]
        before = quiet(service, min(10, seconds / 4))
        with watched(service) as seen:
            asyncio.run(attacked(service.address, seconds, heard))
        time.sleep(REST_SECONDS)
        left = service.holds()["MB"] - held
        after = quiet(service, min(10, seconds / 4))
        heard.reference.append(asyncio.run(given(service.address)))
        complaints, lost = service.complaints(), int(service.worker != worker)
        service.end_now()
    normal = seen.table(f"Normal requests, {seconds:g} s", before)
    normal.rows.append({"when": f"{REST_SECONDS:g} s after", **after.row(before)})
    aims = [
        *seen.aims("attack", before),
        Aim("attack: answers of 5xx other than 503 and 504", faulty(itertools.chain(*heard.answers.values())), 0),
        Aim("attack: reference answers of other bytes, or not given before or after", heard.different(), 0),
        Aim(f"attack: MB more than before, {REST_SECONDS:g} s after", left, LEFT_MB),
        Aim("attack: worker processes lost", lost, 0),
        log_aim("attack", complaints),
    ]
    return Results([normal, Table("The attacks", heard.rows()), *log_tables(complaints)], aims)


async def attacked(address: Address, seconds: float, heard: Heard) -> None:
    """Run all attacks for this many seconds."""
    heard.reference.append(await given(address))
    head, large, ends = post(b"", length=9999), hostile.large_answer(), heard.ends
    works = [
        *(
            asking(address, kind, heard.answers[name], first)
            for name, kind in kinds().items()
            for first in range(kind.clients)
        ),
        *(sip(address, large, ends["slow readers"]) for _ in range(READERS)),
        *(drip(address, head, ends["slow bodies"]) for _ in range(SLOW_CLIENTS)),
        *(drip(address, head[:40], ends["slow heads"]) for _ in range(SLOW_CLIENTS)),
        vanishing(address, ends["clients that vanish"]),
        referring(address, heard.reference),
    ]
    async with besides(*works):
        await asyncio.sleep(seconds)


async def asking(address: Address, kind: Kind, answers: list[Answer], first: int) -> None:
    """Run one client of a kind. first: the index of its first request, so that clients send different requests."""
    for request in itertools.islice(itertools.cycle(kind.requests), first, None):
        began = time.monotonic()
        try:
            answers.append(await ask(address, request, _PATIENCE))
        except asyncio.CancelledError:
            answers.append(Answer(began, time.monotonic() - began, 0, "waiting at the end"))
            raise
        await asyncio.sleep(kind.pause)


async def vanishing(address: Address, ends: "Counter[str]") -> None:
    """Ten times a second, send a request and close the connection before the answer."""
    requests = posts(small_photographs())
    for way in itertools.cycle(WAYS):
        await disappear(address, next(requests), way)
        ends[way] += 1
        await asyncio.sleep(0.1)


async def referring(address: Address, found: list[bytes | None]) -> None:
    """Send the same request every other second."""
    while True:
        await asyncio.sleep(_REFERENCE_EVERY)
        found.append(await given(address))


async def given(address: Address) -> bytes | None:
    """Return the answer for one photograph, each time in a different file; None if the status is not 200."""
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(_PATIENCE), opened(address) as (reader, writer):
            writer.write(next(_references()))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return body if told(head) == (200, len(body)) else None
    return None


@cache
def _references() -> Iterator[bytes]:
    """Yield files with different comments, so that no answer comes from the cache."""
    return posts(small_photographs()[:1], accept="image/png")
