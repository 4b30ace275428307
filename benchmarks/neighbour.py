"""How much speed is left while another process uses a core fully?

    python benchmarks/neighbour.py [--model efficientnet-lite0] [--engines torch]

A second process spins on one of this process's cores. The works of `cost.py` are measured alternately with that process
stopped and running, one intra-op thread each; also the images a second that all workers together explain with
`explain_many`, and pytorch-grad-cam with torch's default number of threads.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from cost import FORWARD, works_of
from measuring import Aim, Results, Row, Samples, Table, Work, ratio, spread, timed
from others import OTHERS, attached
from program import alone
from subjects import Plan, load, noise, photographs

from camserve.system.cores import granted_cores

MANY = "explain_many, all workers"
LEAST_KEPT = 0.45
# Starts the neighbour, or stops it.
Switch = Callable[[bool], None]


@contextmanager
def neighbour() -> Iterator[Switch]:
    """Start a process that spins, on one core if the system can pin it; it is stopped until it is switched on."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        process.send_signal(signal.SIGSTOP)
        yield lambda on: process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
    finally:
        process.kill()
        process.wait()


def measure(plan: Plan) -> Results:
    """Make a table per engine."""
    results = Results()
    photos = photographs(plan.choose(24, 4), (500, 400))
    for engine in plan.engines:
        model = load(plan.model, engine)
        torch.set_num_threads(1)
        works = works_of(model)
        works[MANY] = lambda model=model: list(model.explain_many(photos))
        quiet, noisy = both(works, plan)
        results.tables.append(Table(f"{plan.model}, {engine}", compared(quiet, noisy, len(photos))))
        kept = ratio(quiet[MANY], noisy[MANY])
        what = f"{engine}: share of the images a second kept beside a process that hogs one of {granted_cores()} cores"
        results.aims.append(Aim(what, kept, LEAST_KEPT, at_least=True))
    quiet, noisy = both(their_works(plan), plan)
    if quiet:
        title = f"{plan.model}, pytorch-grad-cam with torch's own number of threads"
        results.tables.append(Table(title, compared(quiet, noisy, 1)))
    return results


def their_works(plan: Plan) -> dict[str, Work]:
    """Return pytorch-grad-cam's Grad-CAM with its defaults; nothing if it is not installed."""
    torch.set_num_threads(granted_cores())
    model = load(plan.model, "torch")
    explain = attached(OTHERS[0], model)
    images = noise(1, model.card.input.size)
    return {str(OTHERS[0]): lambda: explain(images, [0])} if explain is not None else {}


def both(works: dict[str, Work], plan: Plan) -> tuple[Samples, Samples]:
    """Measure seconds of each work, alternately without and with a neighbour."""
    quiet: Samples = {name: [] for name in works}
    noisy: Samples = {name: [] for name in works}
    with neighbour() as switch:
        for work in works.values():
            work()  # warms up
        for _ in range(plan.choose(max(5, plan.repeats // 3), 2)):
            for on, samples in ((False, quiet), (True, noisy)):
                switch(on)
                for name, work in works.items():
                    samples[name].append(timed(work))
    return quiet, noisy


def compared(quiet: Samples, noisy: Samples, photos: int) -> list[Row]:
    """Return one row per work: without the neighbour, with it, and the share of speed that is kept."""
    found = []
    for name in quiet:
        images = photos if name == MANY else 1
        low, median, high = (1e3 * value / images for value in spread(noisy[name]))
        row: Row = {"what": name, "quiet, ms an image": 1e3 * spread(quiet[name])[1] / images}
        row |= {"with neighbour, ms": median, "quartiles": [low, high]}
        row["p90"] = 1e3 * sorted(noisy[name])[int(0.9 * len(noisy[name]))] / images
        if FORWARD in noisy:
            row["x forward beside it"] = ratio(noisy[name], noisy[FORWARD]) / images
        row["speed kept"] = ratio(quiet[name], noisy[name])
        found.append(row)
    return found


if __name__ == "__main__":
    alone(measure, __doc__)
