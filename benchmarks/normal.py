"""Normal requests and health checks during abuse of the service: are they as quick as before?

Shared by the parts of load.py that measure abuse.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from clients import Answer
from measuring import Aim, Row, Table
from overload import HEALTH_MILLISECONDS, small_photographs
from running import Running, probed

CLIENTS = 2
TIMES_QUIET, AT_ONCE_SECONDS = 2.0, 0.1
# The percentage of normal requests that may be slower; and the longest time without any answer.
_TAIL_PERCENT, _GAP_SECONDS = 5.0, 5.0
_NOTE = (
    "Each wait counts as so many requests as its client would have sent meanwhile. Late: neither answered within "
    f"{TIMES_QUIET:g} x the quiet median nor refused at once."
)


@dataclass
class Seen:
    """answers: to normal requests. health: the results of probe.py. peak: MB resident. busy: the load average.

    pause: seconds between an answer and the next request.
    """

    pause: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    peak: float = 0.0
    busy: float = 0.0

    @property
    def median(self) -> float:
        """Median seconds of answered requests; infinite without an answer."""
        return percentile([one.seconds for one in self.answers if one.status == 200], 50)

    @property
    def gap(self) -> float:
        """The longest time without an answer of 200, in seconds."""
        ends = [one.began + one.seconds for one in self.answers]
        good = sorted(one.began + one.seconds for one in self.answers if one.status == 200)
        moments = [min(one.began for one in self.answers), *good, max(ends)] if ends else []
        return max((later - one for one, later in pairwise(moments)), default=math.inf)

    def asked(self, quiet: "Seen") -> list[Answer]:
        """Return all answers; a slow answer also counts for the requests that its client would have sent meanwhile."""
        pace = TIMES_QUIET * quiet.median + self.pause
        return [
            replace(one, seconds=one.seconds - number * pace)
            for one in self.answers
            for number in range(max(1, math.ceil(one.seconds / pace)))
        ]

    def late(self, quiet: "Seen") -> float:
        """Return the percentage neither answered within twice the quiet median nor refused at once; 100 for none."""
        limits, asked = {200: TIMES_QUIET * quiet.median, 429: AT_ONCE_SECONDS}, self.asked(quiet)
        return percent(asked, lambda one: one.seconds > limits.get(one.status, 0)) if asked else 100.0

    def table(self, title: str, quiet: "Seen") -> Table:
        """Return a table of normal requests and health checks, in milliseconds, beside those of the quiet service."""
        rows = [{"when": when, **seen.row(quiet)} for when, seen in (("quiet", quiet), ("meanwhile", self))]
        return Table(title, rows, _NOTE)

    def row(self, quiet: "Seen") -> Row:
        """Return the number of requests, the percentages answered and refused, and milliseconds."""
        asked, health = self.asked(quiet), self.health
        taken, refused = ([1e3 * one.seconds for one in asked if one.status == status] for status in (200, 429))
        cells: Row = {"normal requests": len(self.answers), "200, %": percent(asked, lambda one: one.status == 200)}
        cells |= {f"p{share}, ms": percentile(taken, share) for share in (50, 95, 100)}
        cells |= {"429, %": percent(asked, lambda one: one.status == 429)}
        cells |= {"its p95, ms": percentile(refused, 95) if refused else None}
        cells |= {"other, %": percent(asked, lambda one: one.status not in (200, 429)), "late, %": self.late(quiet)}
        cells |= {"none answered, s": self.gap}
        cells |= {
            "health checks": health["asked"],
            "health p50, ms": health["p50"],
            "health max, ms": health["slowest"],
        }
        cells |= {"/readyz 503": health["failed"] - health["lost"]}
        return cells | {"peak, MB": self.peak, "load average": self.busy}

    def aims(self, name: str, quiet: "Seen") -> list[Aim]:
        """Return the aims for normal requests and health checks."""
        late = f"% of normal requests neither answered within {TIMES_QUIET:g} x their quiet median nor refused at once"
        return [
            Aim(f"{name}: {late}", self.late(quiet), _TAIL_PERCENT),
            Aim(f"{name}: seconds in which no normal request was answered", self.gap, _GAP_SECONDS),
            Aim(f"{name}: health checks not answered", self.health["lost"], 0),
            Aim(f"{name}: milliseconds for the slowest health check", self.health["slowest"], HEALTH_MILLISECONDS),
        ]


@contextmanager
def watched(service: Running, pause: float = 0.0) -> Iterator[Seen]:
    """Run normal clients and health checks during the block; their results are complete after the block.

    pause: seconds that a client waits before it asks again.
    """
    seen = Seen(pause, busy=os.getloadavg()[0])
    service.forget_peak()
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(small_photographs()):
            (Path(folder) / f"{number}.jpg").write_bytes(photo)
        with probed(service) as seen.health, _bystanders(service, folder, pause) as seen.answers:
            yield seen
    seen.peak = service.peak()


def quiet(service: Running, seconds: float, pause: float = 0.0) -> Seen:
    """Measure the same without other requests; the first requests do not count, because the service is still cold."""
    with watched(service, pause):
        time.sleep(2)
    with watched(service, pause) as seen:
        time.sleep(seconds)
    return seen


@contextmanager
def _bystanders(service: Running, folder: str, pause: float) -> Iterator[list[Answer]]:
    words = [*map(str, service.address), folder, str(CLIENTS), str(pause)]
    command = [sys.executable, str(Path(__file__).parent / "bystander.py"), *words]
    answers: list[Answer] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bystanders:
        try:
            yield answers
        finally:
            answers += [Answer(*one) for one in json.loads(bystanders.communicate()[0])]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` percent of the values do not exceed; infinite without values."""
    ranked = sorted(values)
    return ranked[math.ceil(share / 100 * len(ranked)) - 1] if ranked else math.inf


def percent(answers: Sequence[Answer], true: Callable[[Answer], bool]) -> float:
    """Return the percentage of answers for which `true` holds; 0 without answers."""
    return 100 * sum(map(true, answers)) / max(1, len(answers))
