"""Does one checkout take more CPU time than another?

    python benchmarks/pairs.py OLD NEW [--repeats 9]

`model.explain` of 30 photographs; file to the JPEG of the overlay for one of 12 megapixels; `camserve batch` of 60
photographs, in float32 and in bfloat16; and 60 requests to a real server, one after the other; alternately in OLD and
NEW, one intra-op thread each: medians of the seconds of CPU time and, pair by pair, NEW over OLD. OLD is always in
float32. `python benchmarks/run.py --only pairs --old OLD` measures the same for this checkout. Linux.
"""

import os
import resource
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from frozen_cases import waves
from measuring import Aim, Results, Row, Seconds, Skipped, Table, interleaved, ratio, spread
from program import print_table
from subjects import Plan
from trees import check, command, environment, parser, serving

ROOT = Path(__file__).parent.parent
EXPLAINED, SENT = 30, 60
EXPLAINER = """
import io, sys, time
from pathlib import Path
import camserve
model, images, draws = camserve.load(), [Path(name) for name in sys.argv[2:]], sys.argv[1] == "draw"
for _ in sys.stdin:
    start = time.process_time()
    for image in images:
        found = model.explain(image)
        if draws:
            found.overlay().save(io.BytesIO(), "jpeg", quality=90)
    print(time.process_time() - start, flush=True)
"""
Work = Callable[[], Seconds]


@contextmanager
def explaining(tree: Path, folder: Path, images: Path, *, large: bool = False) -> Iterator[Work]:
    """Start a process that explains on demand and returns its CPU time."""
    paths = [images.parent / "large.jpg"] if large else sorted(images.iterdir())[:EXPLAINED]
    words = [sys.executable, "-c", EXPLAINER, "draw" if large else "explain", *map(str, paths)]
    with subprocess.Popen(
        words, env=environment(tree, folder), cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        given, said = process.stdin, process.stdout
        assert given is not None
        assert said is not None

        def work() -> Seconds:
            given.write("\n")
            given.flush()
            return Seconds(said.readline())

        yield work
        given.close()


@contextmanager
def batching(tree: Path, folder: Path, images: Path, precision: str = "float32") -> Iterator[Work]:
    """Run the whole command, start-up included."""

    def work() -> Seconds:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = command(["batch", str(images), "out", "--quiet", "--restart"])
        subprocess.run(words, env=environment(tree, folder, compute_precision=precision), cwd=folder, check=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Seconds(end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime)

    yield work


@contextmanager
def answering(tree: Path, folder: Path, images: Path) -> Iterator[Work]:
    """Run a server without a cache of maps; the client's CPU time does not count."""
    bodies = [path.read_bytes() for path in sorted(images.iterdir())]
    with serving(environment(tree, folder, serve_memory_megabytes="0"), folder) as (url, master):
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()

        def work() -> Seconds:
            start = sum(map(cpu, children))
            for body in bodies:
                head = {"Content-Type": "image/jpeg", "Accept": "image/jpeg"}
                with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/explain", body, head)) as answer:
                    answer.read()
            return Seconds(sum(map(cpu, children)) - start)

        yield work


def cpu(process: str) -> float:
    """Return the seconds of CPU time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(plan: Plan) -> Results:
    """A table of this checkout against an earlier one. Raises Skipped if none is named."""
    if plan.old is None:
        raise Skipped("no earlier version was named: give --old FOLDER, a checkout such as git worktree makes")
    rows = compared(plan.old, ROOT, plan.choose(5, 1))
    ratios = zip(DOORS, (row["NEW / OLD"] for row in rows), strict=True)
    aims = [Aim(f"CPU time against OLD: {door.what}", ratio, door.limit) for door, ratio in ratios if door.limit]
    return Results([Table(f"OLD is {version_of(plan.old)}", rows)], aims)


def version_of(tree: Path) -> str:
    """Return the version that a checkout states."""
    return "version " + (tree / "camserve" / "version.py").read_text().split('"')[-2]


def compared(old: Path, new: Path, repeats: int) -> list[Row]:
    """Return a row for each door."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        (images := Path(name) / "images").mkdir()
        for number in range(SENT):
            waves(number, (500, 400)).save(images / f"{number:02}.jpg", quality=90)
        waves(0, (4000, 3000)).save(Path(name) / "large.jpg", quality=90)
        trees = {"old": (old, Path(name) / "old"), "new": (new, Path(name) / "new")}
        for tree, folder in trees.values():
            folder.mkdir()
            check(tree, folder)
        for door in DOORS:
            with ExitStack() as stack:
                opened = {"old": door.old, "new": door.new or door.old}
                works = {side: stack.enter_context(opened[side](*trees[side], images)) for side in trees}
                found = interleaved(works, repeats, warmups=1)
            row: Row = {"what": door.what, "pairs": repeats}
            row |= {f"{side.upper()}, CPU s": spread(found[side])[1] for side in trees}
            rows.append(row | {"NEW / OLD": ratio(found["new"], found["old"])})
            print(rows[-1], flush=True)
    return rows


class Door(NamedTuple):
    """What is measured. limit: the aim for NEW / OLD, if any. old, new: how it is opened; new None: as in OLD."""

    what: str
    limit: float | None
    old: Callable[..., AbstractContextManager[Work]]
    new: Callable[..., AbstractContextManager[Work]] | None = None


DOORS = (
    Door(f"explain, {EXPLAINED} images", None, explaining),
    Door("12 megapixels, file to JPEG", 0.5, partial(explaining, large=True)),
    Door(f"batch, {SENT} images", 0.65, batching),
    Door(f"batch, {SENT} images, NEW in bfloat16", 0.5, batching, partial(batching, precision="bfloat16")),
    Door(f"HTTP, {SENT} requests", 0.7, answering),
)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=9, help="pairs of each (default: %(default)s)")
    options = made.parse_args()
    print_table(Table("CPU time of two checkouts", compared(options.old, options.new, options.repeats)))


if __name__ == "__main__":
    main()
