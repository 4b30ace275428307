"""How many images a second does the batch command explain, compared with the engine alone?

    python benchmarks/folders.py [--model efficientnet-lite0] [--engines torch]

`camserve batch` explains a folder of JPEG photographs of 0.2 megapixels into overlays and thumbnails, once with few and
once with many photographs: the difference is the time of the images, and the rest is fixed, such as start-up. The bound
of the engine: the same inputs, already decoded and resized, run only through the network, with the same workers and
threads. The three alternate.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import Aim, Results, Samples, Table, interleaved, ratio, spread
from program import alone
from subjects import Plan, environment, load, photographs, write_photographs

import camserve
from camserve.explain import open_photo
from camserve.models.inputs.preprocessing import to_input

SIZE = (500, 400)
LEAST_SHARE = 0.85


def measure(plan: Plan) -> Results:
    """A table an engine."""
    results = Results()
    few, many = plan.choose(20, 2), plan.choose(300, 6)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (few, many):
            write_photographs(folder / str(count), count, SIZE)
        for engine in plan.engines:
            works = {
                "few": lambda engine=engine: run_batch(plan.model, engine, folder, few),
                "many": lambda engine=engine: run_batch(plan.model, engine, folder, many),
                "bound": engine_alone(load(plan.model, engine), many),
            }
            samples = interleaved(works, plan.choose(5, 1), warmups=plan.choose(1, 0))
            results.tables += tables(f"{plan.model}, {engine}", samples, few, many)
            share = share_of_bound(samples, few, many)
            if share is None:
                results.notes.append(f"{engine}: the batch's share, as {many} images took no longer than {few}")
            else:
                what = f"{engine}: batch, share of the engine's images a second"
                results.aims.append(Aim(what, share, LEAST_SHARE, at_least=True))
    return results


def tables(title: str, samples: Samples, few: int, many: int) -> list[Table]:
    """Return tables of images a second, and of the seconds behind them."""
    seconds = {name: spread(values) for name, values in samples.items()}
    rates = {
        "camserve batch, start-up included": many / seconds["many"][1],
        "the engine alone": many / seconds["bound"][1],
    }
    longer = [more - less for more, less in zip(samples["many"], samples["few"], strict=True)]
    if min(longer) > 0:
        rates["camserve batch, without start-up"] = (many - few) / spread(longer)[1]
    names = {"few": f"batch, {few} images", "many": f"batch, {many} images", "bound": f"the engine, {many} inputs"}
    times = {names[name]: [median, low, high] for name, (low, median, high) in seconds.items()}
    return [
        Table(f"{title}: images a second", [{"what": name, "images a second": rate} for name, rate in rates.items()]),
        Table(
            f"{title}: what that is made of", [{"what": n, "seconds, median (quartiles)": t} for n, t in times.items()]
        ),
    ]


def share_of_bound(samples: Samples, few: int, many: int) -> float | None:
    """Return the engine's time divided by the command's time for the additional images; None if that time is 0."""
    longer = [more - less for more, less in zip(samples["many"], samples["few"], strict=True)]
    if min(longer) <= 0:
        return None
    return ratio([bound * (many - few) / many for bound in samples["bound"]], longer)


def run_batch(model: str, engine: str, folder: Path, count: int) -> None:
    """Run the command as users run it."""
    command = [
        sys.executable,
        "-m",
        "camserve",
        "batch",
        str(folder / str(count)),
        str(folder / "out"),
        "--json",
        "--restart",
    ]
    surroundings = {**os.environ, **environment(engine)}
    subprocess.run([*command, "--model", model], env=surroundings, check=True, stdout=subprocess.DEVNULL)


def engine_alone(model: camserve.Model, count: int) -> Callable[[], object]:
    """Return work that runs `count` inputs through the network on all workers."""
    photos = [open_photo(model, photo) for photo in photographs(count, SIZE)]
    inputs = [to_input(photo, model.frame(photo.size), model.card.input) for photo in photos]
    layer = model.layer()
    pool = model.workers
    return lambda: [done.result() for done in [pool.submit(layer.observe, one) for one in inputs]]


if __name__ == "__main__":
    alone(measure, __doc__)
