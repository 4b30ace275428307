"""Do a few requests that ask for minutes of work stop those that ask for milliseconds? Part of load.py."""

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

# What an answer may take longer than the deadline: to be sent, and on a busy machine.
MORE_SECONDS = 2.0
# Each of these is an answer that a client can make something of.
PROPER = (200, 400, 413, 422, 429, 503, 504)
_PATIENCE = 60.0


@dataclass(frozen=True)
class Case:
    """clients: how many ask at once. request: makes what each of them sends."""

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
    """Two clients ask for cheap maps, one after another, while others ask for something dear."""
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
    """What the dear ones are answered; not before so many seconds, so that the cheap ones can be counted."""
    request, start = case.request(), time.monotonic()
    answers = await asyncio.gather(*(ask(address, request, _PATIENCE) for _ in range(case.clients)))
    await asyncio.sleep(max(0, start + least - time.monotonic()))
    return answers


def slowest(answers: list[Answer]) -> float:
    """Seconds."""
    return max(one.seconds for one in answers)
