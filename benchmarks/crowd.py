"""How does the HTTP service answer as its clients and its cores grow?

    python benchmarks/crowd.py [--engines openvino]

wrk posts one JPEG of 0.2 megapixels from 1 to 64 clients and asks for the overlay as JPEG; `camserve serve` has its
default settings but for the result cache, which is off. Then 4 clients, and a service that may use half a core, one
core or two (a quota of the Linux control group "cpu", as containers have it), with one worker a core; and, without a
quota, 4 to 16 workers on the cores of this machine. All are second starts: the first one loads torch, converts the
network and keeps some 600 MB more. wrk runs on the same cores, outside the quota. Needs wrk (in
Debian: apt install wrk) and, for quotas, the right to make control groups.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Results, Row, Skipped, Table, spread
from program import alone
from service import CLIENTS as USUAL
from service import Served, camserve_at, need_wrk, sent, warm_up
from subjects import Plan, jpeg, photographs

CLIENTS = (1, 4, 16, 64)
QUOTAS = {0.5: 1, 1.0: 1, 2.0: 2}  # {cores: workers}
WORKERS = (4, 8, 16)
GROUPS = Path("/sys/fs/cgroup")


def measure(plan: Plan) -> Results:
    """A table by clients and one by cores, for each engine."""
    need_wrk()
    results, rounds, seconds = Results(), plan.choose(3, 1), plan.choose(6, 1)
    with tempfile.TemporaryDirectory() as name:
        (photo := Path(name) / "photo.jpg").write_bytes(jpeg(photographs(1, (500, 400))[0]))
        for engine in plan.engines:
            with camserve_at(engine) as first:  # it converts the network, which the later ones find in the cache
                warm_up(first.url, photo)
            with camserve_at(engine) as served:
                warm_up(served.url, photo)
                chosen = CLIENTS[: plan.choose(4, 2)]
                rows = [{"clients": number, **crowd(served, photo, number, rounds, seconds)} for number in chosen]
            results.tables.append(Table(f"{engine}: by clients", rows))
            results.tables.append(
                Table(f"{engine}: by cores, {USUAL} clients", by_cores(engine, photo, rounds, seconds, plan))
            )
    return results


def by_cores(engine: str, photo: Path, rounds: int, seconds: int, plan: Plan) -> list[Row]:
    """A row for each quota, then a row for each number of workers without a quota."""
    rows: list[Row] = []
    cases: list[tuple[float | None, int]] = [*QUOTAS.items(), *((None, workers) for workers in WORKERS)]
    for cores, workers in cases[:: plan.choose(1, 5)]:
        with quota(cores) as before, camserve_at(engine, before, CAMSERVE_COMPUTE_WORKERS=str(workers)) as served:
            warm_up(served.url, photo)
            facts: Row = {"cores": "all" if cores is None else cores, "workers": workers}
            rows.append({**facts, **crowd(served, photo, USUAL, rounds, seconds)})
    return rows


def crowd(served: Served, photo: Path, clients: int, rounds: int, seconds: int) -> Row:
    """Medians over the rounds. refused: the share of requests that are not answered with 200."""
    runs = [sent(served.url, photo, "image/jpeg", seconds, clients) for _ in range(rounds)]
    given = [(run["answers"] - run["failed"]) / run["seconds"] for run in runs]
    refused = sum(run["failed"] for run in runs) / max(1, sum(run["answers"] for run in runs))
    times = {f"{p} ms": spread([run[p] for run in runs])[1] / 1e3 for p in ("p50", "p99")}
    return {"answers a second": spread(given)[1], "refused": refused, **times, "resident, MB": served.resident}


@contextmanager
def quota(cores: float | None) -> Iterator[list[str]]:
    """Yield the start of a command line whose process may use so many cores. Raises Skipped if no quota can be set."""
    if cores is None:
        yield []
        return
    is_first = (GROUPS / "cpu").is_dir()  # version 1 of control groups
    group = (GROUPS / "cpu" if is_first else GROUPS) / "camserve-benchmarks"
    try:
        group.mkdir(exist_ok=True)
        if is_first:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text(str(int(cores * 100_000)))
        else:
            (group / "cpu.max").write_text(f"{int(cores * 100_000)} 100000")
    except OSError as error:
        raise Skipped(f"no control group could be made: {error}") from None
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        group.rmdir()


if __name__ == "__main__":
    alone(measure, __doc__)
