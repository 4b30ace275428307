"""Does an ONNX file get the same explanations as its network? Twenty networks of torchvision and their files.

    python benchmarks/twins.py [--only resnet18,swin_t] [--engines torch,openvino]
    python benchmarks/twins.py --write             # docs/twins.md from a run of all

Each network has random weights without zeros and calibrated norms. torch.onnx.export writes it to ONNX, and it is
loaded twice: the module itself on torch, its file on each engine. Class maps of all classes (if the head has them), the
map of Grad-CAM, logits and scores must agree, at three sizes, or on three photographs if the file has one fixed size.
The exit status is 1 if anything differs by more than 1e-4: of a map's peak, of the logits' spread, of the scores.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

import camserve
from camserve.config import load_settings
from camserve.version import __version__

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "twins.md"
PHOTOS = [FOLDER.parent / "photos" / name for name in ("cat.jpg", "coffee.jpg", "tripod.jpg")]
MOST = 1e-4
ENGINES = ("torch", "openvino", "onnxruntime")
SIDE, CLASSES = 224, 50
# The sizes for a file that takes any size: the crop, the whole photograph, and a larger input.
SIZES: tuple[str | int, ...] = ("crop", "fit", 288)
# Networks whose export fixes the input size: these are exported for one size.
FIXED = ("alexnet", "swin_t", "vgg11", "vit_b_32")
NETWORKS = (
    *FIXED,
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)
COLUMNS = ("network", "sizes", "layer of the file", "head", "engine", "class maps", "Grad-CAM", "logits", "scores")
HEADER = """# Model files against the networks they were made of

For people who explain model files: how much the explanations of a file differ from those of the exported network.

`python benchmarks/twins.py --write` made this page, with {versions}.

Twenty networks of torchvision with random weights were written to ONNX by `torch.onnx.export`. Each file, loaded by
`camserve.load("net.onnx")` and run by each engine, was compared with the module from which it was exported, loaded into
camserve and run by torch. Compared were the class maps of all {classes} classes where the head has them, the map of
Grad-CAM, logits and scores. Files of "any" size got the centre crop of {side} pixels, the whole photograph, and an
input of 288 pixels; files of one size ("own") got three photographs at this size. Numbers are the largest differences:
for maps as a share of their peak, for logits as a share of their spread. A difference of {most:g} is allowed.

"""


def main() -> None:
    """Compare the chosen networks, print each row, and end with 1 if a row differs."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default=",".join(NETWORKS), metavar="NAMES", help="separated by commas; default: all")
    made.add_argument("--engines", default=",".join(ENGINES), help="default: %(default)s")
    made.add_argument("--write", action="store_true", help="write docs/twins.md")
    options = made.parse_args()
    sys.path.insert(0, str(FOLDER))
    logging.disable(logging.WARNING)  # warnings about random weights
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = []
    for name in options.only.split(","):
        for row in compared(name, options.engines.split(",")):
            rows.append(row)
            print("  ".join(row), flush=True)
    differ = [row for row in rows if max(float(cell) for cell in row[5:] if cell) > MOST]
    print(f"{len({row[0] for row in rows})} networks, {len(differ)} of {len(rows)} rows differ")
    if options.write:
        PAGE.write_text(page(rows))
    sys.exit(1 if differ else 0)


def compared(name: str, engines: list[str]) -> list[list[str]]:
    """Return the rows of one network, one per engine."""
    from zoo_weights import trained_like

    make = maker(name)
    network = trained_like(make, torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    own = camserve.load(network, size=SIDE, resampler="pillow")  # as for model files
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        export(network, file, is_open=name not in FIXED)
        return [row(name, own, twin(file, engine), engine) for engine in engines]


def maker(name: str) -> Callable[[], nn.Module]:
    """Return a function that makes the untrained network."""
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    more |= {"aux_logits": False} if more else {}
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **more)


def export(network: nn.Module, file: Path, *, is_open: bool) -> None:
    """Export a network as ONNX. is_open: whether the file takes images of any size."""
    axes = {"images": {0: "count", **({2: "height", 3: "width"} if is_open else {})}}
    example = torch.zeros(1, 3, SIDE, SIDE)
    names = {"input_names": ["images"], "output_names": ["logits"]}
    torch.onnx.export(network, (example,), str(file), dynamo=False, dynamic_axes=axes, opset_version=17, **names)


def twin(file: Path, engine: str) -> camserve.Model:
    """Load the file as a model."""
    return camserve.load(file, size=SIDE, settings=load_settings(overrides={"compute": {"engine": engine}}))


def row(name: str, own: camserve.Model, other: camserve.Model, engine: str) -> list[str]:
    """Return a row with the largest differences at any size."""
    is_open = other.network.takes_any_size
    asked = [(PHOTOS[0], size) for size in SIZES] if is_open else [(photo, "crop") for photo in PHOTOS]
    found = [differences(own, other, photo, size) for photo, size in asked]
    worst = [max((one[place] for one in found if one[place] is not None), default=None) for place in range(4)]
    head = other.layer().head.kind
    cells = ["" if one is None else f"{one:.1e}" for one in worst]
    return [name, "any" if is_open else "own", other.default_layer, str(head), engine, *cells]


def differences(own: camserve.Model, other: camserve.Model, photo: Path, size: str | int) -> list[float | None]:
    """Return the differences of class maps, Grad-CAM, logits and scores."""
    one, two = (model.explain(photo, size=size, method="gradcam", target=3) for model in (own, other))
    maps = None
    if own.layer().head.kind.has_class_maps:
        mine, theirs = (model.class_maps(photo, size=size) for model in (own, other))
        maps = apart(mine, theirs, float(np.abs(mine).max()))
    logits = [np.array([made.answer_of(index).logit for index in range(CLASSES)]) for made in (one, two)]
    return [
        maps,
        apart(one.map, two.map, float(np.abs(one.map).max())),
        apart(*logits, float(np.ptp(logits[0]))),
        apart(np.asarray(one.scores), np.asarray(two.scores), 1),
    ]


def apart(one: Any, two: Any, unit: float) -> float:
    """Return the largest difference divided by `unit`; inf for different shapes."""
    return float(np.abs(one - two).max() / unit) if one.shape == two.shape else float("inf")


def page(rows: list[list[str]]) -> str:
    """Return the text of docs/twins.md."""
    packages = ("torch", "torchvision", "onnx", "openvino")
    versions = ", ".join([f"camserve {__version__}", *(f"{name} {version(name)}" for name in packages)])
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return HEADER.format(versions=versions, classes=CLASSES, side=SIDE, most=MOST) + table


if __name__ == "__main__":
    main()
