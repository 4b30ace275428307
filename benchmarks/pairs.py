"""Does one checkout need more CPU time than another?

    python benchmarks/pairs.py OLD NEW

`model.explain` of 30 photographs, `camserve batch` of 60, and 60 requests to a real server, one after the other,
alternately in OLD and NEW, one intra-op thread each. Printed: median CPU seconds and, pair by pair, NEW / OLD. Only on
Linux.
"""

import os
import resource
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from frozen_cases import waves
from measuring import Seconds, interleaved, ratio, spread
from trees import check, command, environment, parser, serving

EXPLAINED, SENT = 30, 60
EXPLAINER = f"""
import sys, time
from pathlib import Path
import camserve
model, images = camserve.load(), sorted(Path(sys.argv[1]).iterdir())[:{EXPLAINED}]
for _ in sys.stdin:
    start = time.process_time()
    for image in images:
        model.explain(image)
    print(time.process_time() - start, flush=True)
"""
Work = Callable[[], Seconds]


@contextmanager
def explaining(tree: Path, folder: Path, images: Path) -> Iterator[Work]:
    """Start a process that explains on demand and returns its CPU time."""
    words = [sys.executable, "-c", EXPLAINER, str(images)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=environment(tree, folder), cwd=folder, text=True, **pipes) as process:
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
def batching(tree: Path, folder: Path, images: Path) -> Iterator[Work]:
    """Run the whole command, start-up included."""

    def work() -> Seconds:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = command(["batch", str(images), "out", "--quiet", "--restart"])
        subprocess.run(words, env=environment(tree, folder), cwd=folder, check=True)
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


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=9, help="pairs of each (default: %(default)s)")
    options = made.parse_args()
    doors = {f"explain, {EXPLAINED} images": explaining, f"batch, {SENT} images": batching}
    doors[f"HTTP, {SENT} requests"] = answering
    with tempfile.TemporaryDirectory() as name:
        (images := Path(name) / "images").mkdir()
        for number in range(SENT):
            waves(number, (500, 400)).save(images / f"{number:02}.jpg", quality=90)
        trees = {side: (getattr(options, side), Path(name) / side) for side in ("old", "new")}
        for tree, folder in trees.values():
            folder.mkdir()
            check(tree, folder)
        print(f"{'':22} {'OLD':>8} {'NEW':>8}  NEW / OLD (medians of {options.repeats}, CPU seconds)")
        for door, opened in doors.items():
            with ExitStack() as stack:
                works = {side: stack.enter_context(opened(*where, images)) for side, where in trees.items()}
                found = interleaved(works, options.repeats, warmups=1)
            medians = (spread(found[side])[1] for side in trees)
            print(f"{door:22}", *(f"{median:8.3f}" for median in medians), f" {ratio(found['new'], found['old']):.3f}")


if __name__ == "__main__":
    main()
