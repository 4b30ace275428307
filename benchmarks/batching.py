"""Would the service answer more if it ran images of equal shape together?

    python benchmarks/batching.py [--engines torch] [--repeats 60]

The forward pass of the embedded model, and of a larger one with random weights, on one intra-op thread as each worker
of the service has it: 1, 4 and 8 images at once, in turn. Inputs: square, and as most photographs have it, 4 : 3. Times
are those of the processor, since it is what runs out under load, and what a busy neighbour changes least. Below 1, a
batch saves some; what it makes its first image wait is not counted.
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
    """Milliseconds of the processor for each image, by how many are run at once."""
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
    """So many `images` in batches of `count`; says itself what it took."""
    layer, batch = model.layer(), torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))

    def run() -> Seconds:
        start = time.process_time()
        for _ in range(images // count):
            layer.observe(batch)
        return Seconds(time.process_time() - start)

    return run


if __name__ == "__main__":
    alone(measure, __doc__)
