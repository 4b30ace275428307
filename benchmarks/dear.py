"""Do a few requests for minutes of work block requests for milliseconds of work? Part of load.py."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from clients import Address, Answer, ask
from hostile import dilated, faults, fifty_megapixels, many_instances, polygons, predict, scorecam
from measuring import Aim, Results
from normal import quiet, watched
from overload import DEADLINE_SECONDS, others, statuses
from running import log_aim, log_tables, running

# An answer may take this much longer than the deadline: sending it takes time, and the machine is busy.
MORE_SECONDS = 2.0
# Statuses that tell a client what to do.
PROPER = (200, 400, 413, 422, 429, 503, 504)
_PATIENCE = 60.0


@dataclass(frozen=True)
class Case:
    """clients: how many ask at once. request: makes the request of each client."""

    clients: int
    request: Callable[[], bytes]


CASES = {
    "two of output_stride=1": Case(2, dilated),
    "four of output_stride=1": Case(4, dilated),
    "polygons of 1000 classes": Case(1, polygons),
    "150,000 images of one pixel": Case(1, lambda: predict(many_instances())),
    "24 of 50 MP, all outputs": Case(24, lambda: fifty_megapixels("?outputs=overlay,heatmap,mask")),
    "scorecam of 12 MP": Case(2, scorecam),
    "JSON of 10^6 faults": Case(1, lambda: predict(faults())),
}


def dear(seconds: float) -> Results:
    """Two clients ask for cheap maps, one after another, while others ask for something expensive."""
    results = Results()
    for name, case in CASES.items():
        with running() as service:
            before = quiet(service, min(5, seconds / 4))
            with watched(service) as seen:
                answers = asyncio.run(together(service.address, case, min(10, seconds / 4)))
            complaints = service.complaints()
            service.end_now()
        title = f"{name}: {statuses(answers)}, the slowest after {slowest(answers):.1f} s"
        results.tables += [seen.table(title, before), *log_tables(complaints)]
        results.aims += [
            Aim(f"{name}: seconds for the slowest", slowest(answers), DEADLINE_SECONDS + MORE_SECONDS),
            Aim(f"{name}: answers other than {', '.join(map(str, PROPER))}", others(answers, *PROPER), 0),
            *seen.aims(name, before),
            log_aim(name, complaints),
        ]
    return results


async def together(address: Address, case: Case, least: float) -> list[Answer]:
    """Return the answers to expensive requests. It takes at least `least` seconds, to count the cheap answers."""
    request, start = case.request(), time.monotonic()
    answers = await asyncio.gather(*(ask(address, request, _PATIENCE) for _ in range(case.clients)))
    await asyncio.sleep(max(0, start + least - time.monotonic()))
    return answers


def slowest(answers: list[Answer]) -> float:
    """Return the seconds of the slowest answer."""
    return max(one.seconds for one in answers)
