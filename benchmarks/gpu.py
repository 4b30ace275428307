"""How much time does a GPU save, in float32 and in bfloat16? Without a GPU it prints that nothing was measured.

    python benchmarks/gpu.py [--repeats 20] [--networks resnet50,mobilenet_v2]

Milliseconds of a map of one image of 224 x 224, from pixels in main memory to the map in main memory, alternately; and
seconds of RISE (1000 forward passes). Networks of torchvision with random weights. Uploads from pinned memory are
compared with plain uploads.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torchvision import models

import camserve
from camserve.config import load_settings
from camserve.graph.devices import sent

DEVICES = {
    "CPU, float32": ("cpu", "float32"),
    "GPU, float32": ("cuda", "float32"),
    "GPU, bfloat16": ("cuda", "bfloat16"),
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--networks", default="resnet50,mobilenet_v2", help="of torchvision, separated by commas")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no GPU here: nothing was measured")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    images = torch.rand(4, 3, 224, 224)
    device = torch.device("cuda")
    uploads = {"pinned": lambda: sent(images, device), "plain": lambda: images.to(device)}
    for name, took in timed(uploads, 5 * asked.repeats).items():
        print(f"four images to the GPU, {name}: {1e3 * took:.2f} ms")
    for network in asked.networks.split(","):
        photo, works = torch.randint(0, 256, (224, 224, 3), dtype=torch.uint8).numpy(), {}
        dear = dict[str, Callable[[], object]]()
        for name, (where, precision) in DEVICES.items():
            torch.manual_seed(0)
            compute = {"device": where, "precision": precision, "engine": "torch", "batch": 4 if where == "cpu" else 64}
            settings = load_settings(environ={}, overrides={"compute": compute})
            model = camserve.load(models.get_model(network, weights=None), settings=settings)
            works[name] = lambda model=model, photo=photo: model.explain(photo, target=0)
            dear[name] = lambda model=model, photo=photo: model.explain(photo, target=0, method="rise")
        for name, took in timed(works, asked.repeats).items():
            print(f"{network}, {name}: {1e3 * took:.1f} ms")
        for name, took in timed(dear, 3).items():
            print(f"{network}, {name}, RISE: {took:.2f} s")


def timed(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return median seconds until the GPU has finished. The works alternate; the first round does not count."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            took[name].append(time.perf_counter() - start)
    return {name: median(each[1:]) for name, each in took.items()}


if __name__ == "__main__":
    main()
