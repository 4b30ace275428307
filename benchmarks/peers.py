"""How much faster or slower is camserve than pytorch-grad-cam, torchcam, captum and openvino-xai?

    python benchmarks/peers.py [--engines torch] [--openvino-xai PYTHON]

From an input tensor of 224 x 224 pixels to the map of the predicted class, the forward pass included, on
EfficientNet-Lite0 with its weights and torchvision's ResNet-50 and MobileNetV2 with random weights: with one intra-op
thread and with one per core, one image at a time and eight. For each library its Grad-CAM, and its fastest way to the
same map at the last layer; the networks are unchanged. "pool": camserve as command line and service run it, one image
per worker, each worker with one thread.

PYTHON: openvino-xai 1.1.0 needs openvino 2024.4 and numpy 1, so it is measured in its own environment,
`python -m venv xai && xai/bin/pip install openvino-xai==1.1.0`, interleaved with the others.
"""

from concurrent.futures import Future

import torch
from measuring import Aim, Results, Row, Samples, Table, Work, interleaved, ratio, spread
from others import FASTEST, attached, trainable
from program import alone
from subjects import Plan, load, noise
from torch import Tensor
from xai import OpenvinoXai

import camserve
from camserve.explain.observation import choose_method
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.system.workers import Workers

SIDE = 224
NETWORKS = ("efficientnet-lite0", "torchvision:mobilenet_v2", "torchvision:resnet50")
# (times faster than pytorch-grad-cam, than the fastest of torchcam and captum)
LIMITS = {"torchvision:resnet50": (5.0, 1.6)}
USUAL_LIMITS = (7.0, 2.3)
OURS = "camserve"


def measure(plan: Plan) -> Results:
    """Make two tables per network: milliseconds an image, and the ratio to camserve's fastest."""
    results = Results()
    for source in NETWORKS[: plan.choose(len(NETWORKS), 1)]:
        by_case = {}
        for threads in plan.thread_counts:
            for batch in (1, 8)[: plan.choose(2, 1)]:
                by_case[f"{threads} thread(s), batch {batch}"] = (case(plan, source, threads, batch, results), batch)
        results.tables += tables(source, by_case)
        results.aims += aims(source, {name: samples for name, (samples, _) in by_case.items()})
    return results


def case(plan: Plan, source: str, threads: int, batch: int, results: Results) -> Samples:
    """Measure seconds per batch of every library, interleaved."""
    torch.set_num_threads(threads)
    images = noise(batch, SIDE)
    works, pool = {}, Workers(threads, 1)
    try:
        for engine in plan.engines:
            works |= ours(load(source, engine, threads, workers=1), load(source, engine), images, pool)
        works |= theirs(load(source, "torch"), images)
        with OpenvinoXai(plan.openvino_xai, source, threads) as process:
            if process.missing:
                _note(results, f"openvino-xai: {process.missing}")
            elif batch == 1:  # it takes one image at a time
                works |= process.works(images)
            return interleaved(works, plan.choose(max(5, plan.repeats // batch), 2))
    finally:
        pool.close()


def ours(model: camserve.Model, single: camserve.Model, images: Tensor, pool: Workers) -> dict[str, Work]:
    """Return camserve's works on one engine. single: the model with one intra-op thread, for the pool."""
    name = f"{OURS}, {model.layer().engine.name}"
    works: dict[str, Work] = {name: lambda: class_maps_of(model, images)}
    if pool.count > 1 and len(images) > 1:

        def by_pool() -> list[Tensor]:
            futures: list[Future[Tensor]] = [pool.submit(class_maps_of, single, one[None]) for one in images]
            return [future.result() for future in futures]

        works[f"{name}, pool"] = by_pool
    return works


def class_maps_of(model: camserve.Model, images: Tensor) -> Tensor:
    """Return the map of each image's predicted class, (N, h, w)."""
    layer = model.layer()
    activations, carried, logits = layer.observe(images)
    best = logits.argmax(1)

    def predicted(values: Tensor) -> Tensor:
        return values.gather(1, best[:, None])[:, 0]

    evidence = Evidence(activations, layer.head, predicted, carried, answered=logits)
    return apply(choose_method("auto", layer), evidence)


def theirs(model: camserve.Model, images: Tensor) -> dict[str, Work]:
    """Return the works of the network alone, and of each library on its own copy, because its hooks stay there."""
    network = trainable(model.module)
    with torch.no_grad():
        classes = network(images).argmax(1).tolist()
    works: dict[str, Work] = {"forward pass, eager": lambda: _forward(network, images)}
    for other in FASTEST:
        explain = attached(other, model)
        if explain is not None:
            works[str(other)] = lambda explain=explain: explain(images, classes)
    return works


def _forward(network: torch.nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def tables(source: str, by_case: dict[str, tuple[Samples, int]]) -> list[Table]:
    """Make tables with a column for each case."""
    times: dict[str, Row] = {}
    shares: dict[str, Row] = {}
    for case_name, (samples, batch) in by_case.items():
        base = samples[fastest(samples, OURS)]
        for name, seconds in samples.items():
            low, median, high = (1e3 * value / batch for value in spread(seconds))
            times.setdefault(name, {"what": name})[case_name] = [median, low, high]
            shares.setdefault(name, {"what": name})[case_name] = ratio(seconds, base)
    return [
        Table(f"{source}: milliseconds an image, median (quartiles)", list(times.values())),
        Table(f"{source}: times the time of camserve's fastest", list(shares.values())),
    ]


def fastest(samples: Samples, *starts: str) -> str:
    """Return the work with the smallest median among works whose names start with `starts`."""
    return min((name for name in samples if name.startswith(starts)), key=lambda name: spread(samples[name])[1])


def aims(source: str, by_case: dict[str, Samples]) -> list[Aim]:
    """Return the aims; the worst case counts."""
    limits, found = LIMITS.get(source, USUAL_LIMITS), []
    for libraries, limit in zip((("pytorch-grad-cam",), ("torchcam", "captum")), limits, strict=True):
        ratios = []
        for samples in by_case.values():
            if any(name.startswith(libraries) for name in samples):
                ratios.append(ratio(samples[fastest(samples, *libraries)], samples[fastest(samples, OURS)]))
        if ratios:
            what = f"{source}: times faster than {' and '.join(libraries)}, in the worst of {len(ratios)} cases"
            found.append(Aim(what, min(ratios), limit, at_least=True))
    return found


def _note(results: Results, text: str) -> None:
    if text not in results.notes:
        results.notes.append(text)


if __name__ == "__main__":
    alone(measure, __doc__)
