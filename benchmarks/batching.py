"""Would the service answer more requests if it ran images of equal shape in one batch?

    python benchmarks/batching.py [--engines torch] [--repeats 60]

The forward pass of the embedded model, and of a larger one with random weights, on one intra-op thread as each worker
of the service has it: batches of 1, 4 and 8 images, alternately. Inputs: square, and 4 : 3 like most photographs. Times
are CPU times, because the CPU is what runs out under load, and a busy neighbour changes CPU time least. A ratio below 1
means that a batch saves time; the waiting time of its first image is not counted.
"""

import time

import torch
from measuring import Results, Row, Seconds, Table, Work, interleaved, ratio, spread
from program import alone
from subjects import Plan, load

import camserve

BATCHES = (1, 4, 8)
SHAPES = ((224, 224), (224, 298))
LARGER = "torchvision:resnet50"


def measure(plan: Plan) -> Results:
    """A table for each engine and model."""
    torch.set_num_threads(1)
    results = Results()
    for engine in plan.engines:
        for source in (plan.model, LARGER)[: plan.choose(2, 1)]:
            model = load(source, engine, threads=1, workers=1)
            rows = [row for shape in SHAPES for row in by_batch(model, shape, plan)]
            results.tables.append(Table(f"{source}, {engine}, one intra-op thread", rows))
    return results


def by_batch(model: camserve.Model, shape: tuple[int, int], plan: Plan) -> list[Row]:
    """Return the CPU milliseconds of an image for each batch size."""
    batches = BATCHES[: plan.choose(len(BATCHES), 2)]
    works = {str(count): work(model, shape, count, max(batches)) for count in batches}
    samples = interleaved(works, plan.choose(max(5, plan.repeats // 3), 2))
    found = []
    for name, seconds in samples.items():
        low, median, high = (1e3 * value / max(batches) for value in spread(seconds))
        row: Row = {"input": f"{shape[1]} x {shape[0]}", "at once": int(name)}
        row |= {"CPU ms an image (quartiles)": [median, low, high], "x one at a time": ratio(seconds, samples["1"])}
        found.append(row)
    return found


def work(model: camserve.Model, shape: tuple[int, int], count: int, images: int) -> Work:
    """Return work that runs `images` images in batches of `count` and returns its own time."""
    layer, batch = model.layer(), torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))

    def run() -> Seconds:
        start = time.process_time()
        for _ in range(images // count):
            layer.observe(batch)
        return Seconds(time.process_time() - start)

    return run


if __name__ == "__main__":
    alone(measure, __doc__)
