"""Batches over the same images in their own processes: undisturbed, killed repeatedly, on a cluster."""

import filecmp
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from measuring import Aim, Results, Row, Skipped, Table
from subjects import cache_folder
from watching import Watch, watch

# MB that a thousand images may add after most sizes were seen; an engine may keep memory for each size.
GROWTH = 5.0
FLAT = 0.85  # the speed of the slowest of the last five tenths, divided by the mean of all
ENOUGH = 2000  # with fewer images, growth and speed mean little
WAIT = 0.1  # at most this many seconds between a number of rows and the kill
KILLED = -signal.SIGKILL
MEGABYTE = 1e6


@dataclass
class Case:
    """What is measured, in `folder`. whole: the undisturbed run, or None before it."""

    folder: Path
    images: int
    kills: int
    model: str
    keep: bool
    broken: int = 0
    whole: Watch | None = None

    @property
    def source(self) -> Path:
        """The images."""
        return self.folder / "in"

    @property
    def out(self) -> Path:
        """The output folder of the undisturbed run."""
        return self.folder / "out"

    def new(self, name: str) -> Path:
        """Return a folder that does not exist yet."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def batch(self, out: Path, *more: str, source: Path | None = None, **kill: float | None) -> Watch:
        """Run `camserve batch` as users run it. Raises RuntimeError if it fails."""
        words = ["-m", "camserve", "batch", str(source or self.source), str(out), "--quiet", "--model", self.model]
        seen = watch([sys.executable, *words, *more], out, {"CAMSERVE_COMPUTE_CACHE": cache_folder()}, **kill)
        if seen.status not in (0, 1, KILLED if kill else 0):
            raise RuntimeError(f"camserve batch ended with {seen.status}; what it said stands above")
        return seen

    def undisturbed(self) -> Watch:
        """Return the run that all others are compared with; run it if it is missing."""
        if self.whole is None:
            self.batch(self.new("warm"), source=self.first(8))  # conversions, the system's cache of files
            self.whole = self.batch(self.new("out"))
        return self.whole

    def finished(self) -> None:
        """Make sure that `out` holds the finished undisturbed run; an unfinished kept run is resumed."""
        if self.whole is None:
            self.batch(self.out, "--resume")

    def first(self, count: int) -> Path:
        """Write a list of the first `count` images."""
        path = self.folder / f"first-{count}.txt"
        named = sorted(one.relative_to(self.folder) for one in self.source.rglob("*.jpg"))
        path.write_text("\n".join(map(str, named[:count])))
        return path


def run(case: Case) -> Results:
    """Measure memory, speed, and the size of the output."""
    seen, count = case.undisturbed(), case.images
    tenths = [seen.rate(count * tenth / 10, count * (tenth + 1) / 10) for tenth in range(10)]
    speed = {
        "images a second": seen.rate(seen.working[0].rows, count),
        "CPU s an image, start-up included": seen.cpu / count,
    }
    results = Results([
        Table(f"{count:,} images, {case.broken} of them broken", [{"s": seen.seconds, **speed, **finishing(case)}]),
        Table("Images a second, tenth by tenth", [{str(place + 1): rate for place, rate in enumerate(tenths)}]),
        Table("Resident, MB", [{
            **{f"at {share} %": seen.resident(count * share / 100) for share in (10, 50, 100)}, "peak": seen.peak,
            "added by 1,000 images of the later half": seen.slope(count / 2),
        }]),
        Table("What it read and wrote", list(written(case))),
    ])  # fmt: skip
    failed = (case.out / "results.jsonl").read_bytes().count(b'"status": "failed"')
    results.aims.append(
        Aim("broken images without a row that says so, or others with one", abs(failed - case.broken), 0)
    )
    if count < ENOUGH:
        results.notes.append(f"whether memory and speed are flat: {count:,} images say little, {ENOUGH:,} would")
    else:
        share = min(tenths[5:]) / speed["images a second"]
        results.aims.append(Aim("MB that 1,000 images of the later half add", seen.slope(count / 2), GROWTH))
        results.aims.append(Aim("slowest of the last five tenths over the mean", share, FLAT, at_least=True))
    return results


def finishing(case: Case) -> Row:
    """Return the seconds after the last row, from the times of the files."""
    ends = [(case.out / name).stat().st_mtime for name in ("results.jsonl", "findings.json", "index.html")]
    return {"findings s": ends[1] - ends[0], "page s": ends[2] - ends[1]}


def written(case: Case) -> list[Row]:
    """Return the bytes in all and for each image."""
    parts = {"images": case.source, **{path.name: path for path in sorted(case.out.iterdir())}}
    sizes = {
        name: sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
        for name, path in parts.items()
    }
    return [
        {"what": name, "MB": size / MEGABYTE, "bytes an image": size // case.images} for name, size in sizes.items()
    ]


def kills(case: Case) -> Results:
    """Check that a run that is killed repeatedly ends with the same bytes."""
    whole, out = case.undisturbed(), case.new("killed")
    runs = [*killed(case, out), case.batch(out, "--resume")]
    rows = [
        {"killed after, s": one.seconds, "rows by then": one.looks[-1].rows, "killed": one.status == KILLED}
        for one in runs[:-1]
    ]
    took = sum(one.seconds for one in runs)
    cost = {"undisturbed, s": whole.seconds, "with kills, s": took, "lost, s": took - whole.seconds}
    hit = sum(one.status == KILLED for one in runs)
    results = Results([
        Table(f"Killed {hit} times, and gone on with", rows),
        Table("What that costs", [{**cost, "lost for each kill, s": cost["lost, s"] / max(hit, 1)}]),
    ])  # fmt: skip
    results.aims.append(Aim("kills that met a running batch", hit, min(case.kills, 1), at_least=True))
    return same(results, f"after {hit} kills", case.out, out)


def killed(case: Case, out: Path) -> Iterator[Watch]:
    """Yield runs into `out`. Each is killed at a random moment, and the next run resumes."""
    rng, done = random.Random(case.images), 0
    for left in range(case.kills, 0, -1):
        ahead = int(rng.uniform(0, 2) * (case.images - done) / (left + 1))
        yield (seen := case.batch(out, "--resume", until=done + max(ahead, 1), wait=rng.uniform(0, WAIT)))
        done = seen.looks[-1].rows


def same(results: Results, when: str, one: Path, other: Path) -> Results:
    """Return `results` with the differences between two folders."""
    different = differences(one, other)
    results.aims.append(Aim(f"files that differ {when}", len(different), 0))
    if different:
        results.tables.append(Table(f"Differ {when}", [{"file": path} for path in different[:10]]))
    return results


def differences(one: Path, other: Path) -> list[str]:
    """Return the files that are in only one folder, or differ in their bytes."""
    names = [{str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} for out in (one, other)]
    both = names[0] & names[1]
    return sorted(
        (names[0] ^ names[1]) | {name for name in both if not filecmp.cmp(one / name, other / name, shallow=False)}
    )


def ray(case: Case) -> Results:
    """Run the same list on threads and on a local Ray."""
    if find_spec("ray") is None:
        raise Skipped('Ray is not installed: pip install "camserve[ray]"')
    count = min(case.images, 1000)
    outs = {"threads": case.new("threads"), "Ray, two actors": case.new("ray")}
    more: dict[str, tuple[str, ...]] = {"threads": (), "Ray, two actors": ("--engine-cluster", "ray", "--actors", "2")}
    rows = []
    for name, out in outs.items():
        seen = case.batch(out, *more[name], source=case.first(count))
        started = {"s": seen.seconds, "first row after, s": seen.when(0)}
        rows.append({"on": name, **started, "images a second, later half": seen.rate(count / 2, count)})
    return same(Results([Table(f"{count:,} images", rows)]), "on Ray", *outs.values())
