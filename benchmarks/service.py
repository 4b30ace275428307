"""How many answers a second does the HTTP service give, compared with Flask and pytorch-grad-cam?

    python benchmarks/service.py [--engines torch]

Three services alternate: `camserve serve` with default settings but without its cache of maps (serve.memory_megabytes),
the same in bfloat16 if OpenVINO is installed (compute.precision), and `flask_gradcam.py` under gunicorn with four
threads. wrk posts one JPEG of 0.2 megapixels from 4 clients, and asks for the overlay as JPEG or PNG, in the
photograph's own size. wrk runs on the same cores. Needs wrk (in Debian: apt install wrk).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Aim, Results, Row, Skipped, Table, spread
from program import alone
from subjects import Plan, environment, jpeg, photographs

HERE = Path(__file__).parent
TYPES = ("image/jpeg", "image/png")
CLIENTS = 4
ROUNDED = "camserve, openvino in bfloat16"
FLASK = "Flask + pytorch-grad-cam"
LEAST_TIMES, TAIL_LIMIT = 15.0, 2.5
_FLASK_NEEDS = ("flask", "gunicorn", "pytorch_grad_cam", "cv2", "efficientnet_lite_pytorch")


class Served(NamedTuple):
    """A service: the address to post to, and its first process."""

    url: str
    process: int

    @property
    def resident(self) -> float:
        """Megabytes that its processes have in memory; memory that they share counts once."""
        own = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (str(self.process), *own)]
        return (
            sum(int(size) for text in rollups for size in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)) * 1024 / 1e6
        )


def measure(plan: Plan) -> Results:
    """Measure answers a second, latencies, and the ratio to Flask's answers."""
    need_wrk()
    results = Results()
    with ExitStack() as stack:
        urls = {f"camserve, {engine}": stack.enter_context(camserve_at(engine)).url for engine in plan.engines}
        if "openvino" in plan.engines:
            rounded = stack.enter_context(camserve_at("openvino", CAMSERVE_COMPUTE_PRECISION="bfloat16"))
            urls[ROUNDED] = rounded.url
        missing = [name for name in _FLASK_NEEDS if find_spec(name) is None]
        if missing:
            results.notes.append(f"{FLASK}: {', '.join(missing)} not installed; pip install -e .[dev]")
        else:
            urls[FLASK] = stack.enter_context(flask_at())
        photo = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "photo.jpg"
        photo.write_bytes(jpeg(photographs(1, (500, 400))[0]))
        for url in urls.values():
            warm_up(url, photo)
        runs = in_turn(urls, photo, rounds=plan.choose(5, 1), seconds=plan.choose(8, 2))
    for kind in TYPES:
        rows = {name: row(runs[name, kind]) for name in urls}
        results.tables.append(Table(f"{kind}, {CLIENTS} clients", [{"service": name, **rows[name]} for name in rows]))
        results.aims += aims(kind, rows)
    return results


def in_turn(urls: dict[str, str], photo: Path, rounds: int, seconds: int) -> dict[tuple[str, str], list[Any]]:
    """Return wrk's results for each service and type, round by round."""
    runs: dict[tuple[str, str], list[Any]] = {(name, kind): [] for kind in TYPES for name in urls}
    for _ in range(rounds):
        for name, kind in runs:
            runs[name, kind].append(load(urls[name], photo, kind, seconds))
    return runs


def warm_up(url: str, photo: Path) -> None:
    """Ask for both types once. Raises Skipped if the answer has another type."""
    for kind in TYPES:
        request = urllib.request.Request(url, photo.read_bytes(), {"Content-Type": "image/jpeg", "Accept": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.headers["Content-Type"] != kind:
                raise Skipped(f"{url} answered {answer.headers['Content-Type']} when asked for {kind}")


def need_wrk() -> None:
    """Raise Skipped if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise Skipped("wrk, which sends the requests, is not installed; in Debian: apt install wrk")


def sent(url: str, photo: Path, kind: str, seconds: int, clients: int = CLIENTS) -> dict[str, float]:
    """Run wrk once, and return what post.lua prints."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "post.lua"), url]
    done = subprocess.run([*command, "--", str(photo), kind], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def load(url: str, photo: Path, kind: str, seconds: int) -> dict[str, float]:
    """Run wrk once. Raises Skipped if answers fail."""
    found = sent(url, photo, kind, seconds)
    if found["failed"] or not found["answers"]:
        raise Skipped(f"{url} gave wrk {found['answers']:g} answers in {seconds} s, {found['failed']:g} failed")
    return found


def row(runs: list[dict[str, float]]) -> Row:
    """Return medians over the rounds."""
    low, median, high = spread([run["answers"] / run["seconds"] for run in runs])
    found: Row = {"answers a second": median, "quartiles": [low, high], "rounds": len(runs)}
    found |= {f"{p} ms": spread([run[p] for run in runs])[1] / 1e3 for p in ("p50", "p90", "p99")}
    return found | {"p99 / p50": found["p99 ms"] / found["p50 ms"]}


def aims(kind: str, rows: dict[str, Row]) -> list[Aim]:
    """Return the aims; the best engine counts, in float32."""
    ours = {name: row for name, row in rows.items() if name not in (FLASK, ROUNDED)}
    best = max(ours, key=lambda name: ours[name]["answers a second"])
    found = [Aim(f"{best}: {kind}, p99 over the median under {CLIENTS} clients", ours[best]["p99 / p50"], TAIL_LIMIT)]
    if FLASK in rows:
        times = ours[best]["answers a second"] / rows[FLASK]["answers a second"]
        found.append(Aim(f"{best}: {kind}, times the answers of {FLASK}", times, LEAST_TIMES, at_least=True))
    return found


@contextmanager
def camserve_at(engine: str, before: Sequence[str] = (), **more: str) -> Iterator[Served]:
    """Run a real `camserve serve`. before: words in front of its command."""
    command = [*before, sys.executable, "-m", "camserve", "serve", "--port", "0"]
    forgetful = {"CAMSERVE_SERVE_MEMORY_MEGABYTES": "0"}  # wrk posts the same photograph over and over
    with process(
        command, environment(engine) | forgetful | more, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as started:
        assert started.stdout is not None
        found = re.search(r"http://\S+", started.stdout.readline())
        if found is None:
            raise Skipped("camserve serve did not start; what it said stands above")
        wait_for(f"{found[0]}/readyz", started)
        yield Served(f"{found[0]}/api/v1/explain", started.pid)


@contextmanager
def flask_at() -> Iterator[str]:
    """Run `flask_gradcam.py` under gunicorn; yields the address to post to."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(HERE), "--threads", str(CLIENTS), "--bind", address]
    with process([*command, "--log-level", "warning", "flask_gradcam:app"], {}) as started:
        wait_for(f"http://{address}/", started)
        yield f"http://{address}/explain"


@contextmanager
def process(command: list[str], more: dict[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process; it is ended with the block."""
    with subprocess.Popen(command, env={**os.environ, **more}, text=True, **options) as started:
        try:
            yield started
        finally:
            started.terminate()
            started.wait(60)


def wait_for(url: str, started: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until the service answers 200. Raises Skipped if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and started.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise Skipped(f"{url} was not ready within {seconds:g} s; what its process said stands above")


if __name__ == "__main__":
    alone(measure, __doc__)
