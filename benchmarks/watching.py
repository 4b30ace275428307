"""Watch a `camserve batch` in its own process from outside: its progress, its memory, and how it ended."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measuring import Skipped

EVERY = 0.2  # seconds between two looks
MEGABYTE = 1e6


class Look(NamedTuple):
    """seconds: since the start. rows: whole lines in results.jsonl. resident: MB."""

    seconds: float
    rows: int
    resident: float


@dataclass
class Watch:
    """What was seen. cpu: seconds of all its threads. peak: MB, as Linux records it. status: its exit status."""

    looks: list[Look] = field(default_factory=list)
    seconds: float = 0
    cpu: float = 0
    peak: float = 0
    status: int = 0

    def when(self, rows: float) -> float:
        """Return the seconds until there were this many rows."""
        working = self.working
        return float(np.interp(rows, [one.rows for one in working], [one.seconds for one in working]))

    def resident(self, rows: float) -> float:
        """Return the MB when there were this many rows."""
        working = self.working
        return float(np.interp(rows, [one.rows for one in working], [one.resident for one in working]))

    def slope(self, first: float) -> float:
        """Return the MB that each 1,000 images add, fitted from row `first` on."""
        working = [one for one in self.working if one.rows >= first]
        rows, resident = [one.rows for one in working], [one.resident for one in working]
        return 1000 * float(np.polyfit(rows, resident, 1)[0]) if len(set(rows)) > 1 else 0.0

    def rate(self, first: float, last: float) -> float:
        """Return images a second between two numbers of rows."""
        return (last - first) / max(self.when(last) - self.when(first), 1e-9)

    @property
    def working(self) -> list[Look]:
        """The looks that found new rows."""
        return [one for before, one in pairwise(self.looks) if one.rows > before.rows]


class Rows:
    """Counts the complete lines of a growing file."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self._end = path, 0, 0

    def __call__(self) -> int:
        """Return how many lines there are now."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._end)
                new = file.read()
            self._end += new.rfind(b"\n") + 1
            self.count += new.count(b"\n")
        return self.count


def watch(
    command: Sequence[str], out: Path, more: dict[str, str], *, until: int | None = None, wait: float = 0
) -> Watch:
    """Run `command`, which writes OUT/results.jsonl. more: its environment.

    until, wait: kill it (SIGKILL) `wait` seconds after there are `until` rows; None: let it end.
    """
    seen, rows, before = Watch(), Rows(out / "results.jsonl"), _cpu()
    start = time.perf_counter()
    with subprocess.Popen(command, env={**os.environ, **more}, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            _look(process.pid, start, rows, seen)
            if until is not None and rows.count >= until:
                time.sleep(wait)
                process.send_signal(signal.SIGKILL)
                process.wait()
            else:
                time.sleep(EVERY if until is None else EVERY / 10)
    seen.seconds, seen.cpu, seen.status = time.perf_counter() - start, _cpu() - before, process.returncode
    seen.looks.append(Look(seen.seconds, rows(), seen.looks[-1].resident))
    return seen


def _look(pid: int, start: float, rows: Rows, seen: Watch) -> None:
    sizes = _sizes(pid)
    if sizes:
        seen.looks.append(Look(time.perf_counter() - start, rows(), sizes["VmRSS"]))
        seen.peak = max(seen.peak, sizes["VmHWM"])


def _sizes(pid: int) -> dict[str, float]:
    """VmRSS and VmHWM in MB; {} for a process that has just ended."""
    path = Path(f"/proc/{pid}/status")
    if not path.parent.parent.exists():
        raise Skipped("what a process holds can be read on Linux only")
    pairs = (line.split() for line in path.read_text().splitlines() if line.startswith(("VmRSS", "VmHWM")))
    return {key.rstrip(":"): int(size) * 1024 / MEGABYTE for key, size, _ in pairs}


def _cpu() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
