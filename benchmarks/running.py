"""A real `camserve serve` for load.py, seen from outside: its processes, their memory, and errors in the log."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from clients import Address
from measuring import Aim, Skipped, Table
from service import process, wait_for
from subjects import environment

FORGETFUL = {"CAMSERVE_SERVE_MEMORY_MEGABYTES": "0"}


@dataclass
class Running:
    """popen: the master process. url: its address. log: the file with its standard error."""

    popen: "subprocess.Popen[str]"
    url: str
    log: Path

    @property
    def address(self) -> Address:
        """The host and the port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def worker(self) -> int | None:
        """The id of the worker process; None while there is none."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def holds(self) -> dict[str, float]:
        """Return what the worker process holds now: 10^6 bytes resident, threads, open file descriptors."""
        folder = Path(f"/proc/{self.worker}")
        found = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", (folder / "status").read_text(), re.MULTILINE))
        descriptors = len(list((folder / "fd").iterdir()))
        return {"MB": int(found["VmRSS"]) * 1024 / 1e6, "threads": int(found["Threads"]), "descriptors": descriptors}

    def peak(self) -> float:
        """Return the largest resident set of the worker process since `forget_peak`, 10^6 bytes."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        return int(re.findall(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)[0]) * 1024 / 1e6

    def forget_peak(self) -> None:
        """Reset the peak to the current resident set."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")

    def end_now(self) -> None:
        """Kill all processes with kill -9, if a normal end would take minutes."""
        worker = self.worker
        self.popen.kill()
        if worker is not None:
            os.kill(worker, signal.SIGKILL)

    def busy(self) -> float:
        """Return from /metrics how many requests are being read, wait, or are being computed."""
        with urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(r"^camserve_(?:queue_depth|in_flight|uploads) (\S+)", text, re.MULTILINE)))

    def complaints(self) -> list[str]:
        """Return errors and worse in the log, except that a worker was killed."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.strip() for line in lines if not _is_well(line) and "was sent SIGKILL" not in line]


def log_aim(name: str, complaints: list[str]) -> Aim:
    """Return the aim that the log has no errors."""
    return Aim(f"{name}: errors in the log", len(complaints), 0)


def log_tables(complaints: list[str]) -> list[Table]:
    """Return a table of the first errors, if there are any."""
    return [Table("Errors in the log", [{"line": line[:500]} for line in complaints[:3]])] if complaints else []


@contextmanager
def running(**settings: str) -> Iterator[Running]:
    """Run the service with default settings, except the variables in `settings`; it ends with the block."""
    if not Path("/proc/self/status").exists():
        raise Skipped("what a process holds is read from /proc, which is Linux's")
    command = [sys.executable, "-m", "camserve", "serve", "--port", "0"]
    more = environment("auto") | settings
    with (
        tempfile.TemporaryDirectory() as folder,
        (log := Path(folder) / "log").open("wb") as writing,
        process(command, more, stdout=subprocess.PIPE, stderr=writing) as started,
    ):
        assert started.stdout is not None
        found = re.search(r"http://\S+", started.stdout.readline())
        if found is None:
            raise Skipped("camserve serve did not start; try it by hand")
        wait_for(f"{found[0]}/readyz", started)
        yield Running(started, found[0], log)
        started.stdout.close()


@contextmanager
def probed(service: Running) -> Iterator[dict[str, Any]]:
    """Run health checks during the block; the results of `probe.py` are complete after the block."""
    command = [sys.executable, str(Path(__file__).parent / "probe.py"), *map(str, service.address)]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        try:
            yield found
        finally:
            found |= json.loads(probe.communicate()[0])


def seconds_until(true: Callable[[], bool], patience: float = 60) -> float:
    """Return the seconds until `true` holds, at most `patience`."""
    start = time.monotonic()
    while not true() and time.monotonic() < start + patience:
        time.sleep(0.02)
    return time.monotonic() - start


def _is_well(line: str) -> bool:
    try:
        return json.loads(line)["level"] in ("debug", "info", "warning")
    except (ValueError, KeyError):
        return not line.strip()
