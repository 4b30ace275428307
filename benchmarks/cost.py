"""What does an explanation cost on top of the forward pass that the prediction needs anyway?

    python benchmarks/cost.py [--model efficientnet-lite0] [--size 224] [--repeats 60] [--threads 1]

In one process, interleaved, on one input that is already a tensor: the forward pass alone (body, head, logits); the
same and the map of the predicted class; the body and the maps of all classes, whose means are the logits; and, from
the decoded photograph, `model.explain` as users call it, resizing and placing included. Prints medians, quartiles, and
the ratio to the forward pass taken pair by pair, so that a machine whose speed drifts does no harm.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import camserve
from camserve.methods import find_method
from camserve.methods.evidence import Evidence
from camserve.targets import class_target


def main() -> None:
    """Print one row per kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = camserve.load(options.model)
    layer, cam = model.layer(), find_method("cam")
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (options.size, options.size, 3), dtype=np.uint8))
    images = torch.randn(1, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))

    def forward() -> Evidence:
        activations, carried = layer.engine(images)
        logits = layer.head.logits(activations, carried)
        return Evidence(activations, layer.head, class_target(int(logits.argmax())), carried)

    def one_class() -> object:
        return cam(forward())

    def all_classes() -> object:
        return layer.class_maps(images)

    def explain() -> object:
        return model.explain(photo, size=options.size)

    works: dict[str, Callable[[], object]] = {
        "forward alone": forward,
        "and the map of one class": one_class,
        f"the maps of all {len(model.labels)} classes": all_classes,
        "model.explain, from pixels": explain,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(options.repeats + 5):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if repeat >= 5:  # the first ones warm up
                seconds[name].append(time.perf_counter() - start)
    print(
        f"{options.model} at {options.size}, torch {torch.__version__}, {options.threads} intra-op thread(s), "
        f"{platform.machine()}, {options.repeats} interleaved repeats"
    )
    print(f"{'':32} {'median ms':>10} {'quartiles':>15} {'x forward':>10}")
    base = seconds["forward alone"]
    for name, times in seconds.items():
        low, median, high = (1e3 * value for value in statistics.quantiles(times, n=4))
        ratio = statistics.median(mine / bare for mine, bare in zip(times, base, strict=True))
        print(f"{name:32} {median:10.2f} {low:7.2f}-{high:<7.2f} {ratio:10.3f}")


if __name__ == "__main__":
    main()
