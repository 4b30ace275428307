"""How much memory does a photograph need at its peak, and how much stays afterwards?

    python benchmarks/memory.py [--model efficientnet-lite0] [--engines torch]

For each size a new process loads the model and explains one small photograph: this is the idle process. Then it reads a
JPEG of that size from a file, explains it and encodes the overlay as JPEG. The peak is the resident set, measured by
Linux, minus the idle resident set. The last process explains one photograph after another, encodes their overlays, and
prints how its resident set grows from the first tenth of the photographs to the last.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Aim, Results, Skipped, Table
from program import alone
from subjects import Plan, environment, jpeg, photographs

# 4:3, slightly less than this many megapixels; the last is the largest that limits.megapixels allows.
SIZES = {0.1: (365, 273), 1: (1154, 866), 12: (4000, 3000), 50: (8164, 6123)}
MEGABYTE = 1e6


def measure(plan: Plan) -> Results:
    """Measure a table of peaks and a table of growth for each engine."""
    if not Path("/proc/self/clear_refs").exists():
        raise Skipped("the peak of the resident set can be read, and set back, on Linux only")
    results = Results()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for engine in plan.engines:
            found = {size: child(plan, engine, written(folder, size), 1) for size in list(SIZES)[: plan.choose(4, 2)]}
            rows = [
                {"megapixels": size, "idle, MB": one["idle"], "peak over idle, MB": one["peak"], "seconds": one["took"]}
                for size, one in found.items()
            ]
            results.tables.append(Table(f"{plan.model}, {engine}: one photograph", rows))
            largest = max(found)
            what = f"{engine}: MB over the idle process to explain {largest:g} megapixels"
            results.aims.append(Aim(what, found[largest]["peak"], 600))
            flat = child(plan, engine, written(folder, 0.1), plan.choose(1000, 20))
            title = f"{plan.model}, {engine}: {flat['count']} photographs of 0.1 megapixels, one after another"
            steps = {f"after {count}": size for count, size in flat["resident"]}
            results.tables.append(Table(title, [{"what": "resident over idle, MB", **steps}]))
            grown = flat["resident"][-1][1] - flat["resident"][0][1]
            results.aims.append(Aim(f"{engine}: MB grown over the last nine tenths of {flat['count']}", grown, 10))
    return results


def written(folder: Path, size: float) -> Path:
    """Write a JPEG of this many megapixels."""
    path = folder / f"{size:g}.jpg"
    if not path.exists():
        path.write_bytes(jpeg(photographs(1, SIZES[size])[0]))
    return path


def child(plan: Plan, engine: str, photo: Path, count: int) -> dict[str, Any]:
    """Run a new process and return what it measured about itself; all sizes in 10^6 bytes."""
    command = [sys.executable, __file__, "--child", plan.model, str(photo), str(count)]
    done = subprocess.run(
        command, env={**os.environ, **environment(engine)}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def observed(model_name: str, photo: Path, count: int) -> dict[str, Any]:
    """Measure, in the new process, the peak over idle, and the resident set over idle after each tenth of `count`."""
    import camserve
    from camserve.images.reading import encode
    from camserve.system.allocation import keep_freed_memory

    keep_freed_memory()  # as the command and the service do

    def explain(image: object) -> None:
        encode(model.explain(image).overlay(), "jpeg")

    model = camserve.load(model_name)
    explain(photographs(1, (64, 64))[0])
    idle = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current resident set
    start, steps = time.perf_counter(), []
    for number in range(1, count + 1):
        explain(photo)
        if number % max(1, count // 10) == 0:
            steps.append((number, status("VmRSS") - idle))
    took = time.perf_counter() - start
    return {"count": count, "idle": idle, "peak": status("VmHWM") - idle, "resident": steps, "took": took}


def status(key: str) -> float:
    """Return a size of this process, in 10^6 bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024 / MEGABYTE


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(observed(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        alone(measure, __doc__)
