"""How well do maps find small objects? One pass, four passes, the sharp mode, other libraries, and trivial maps.

    python benchmarks/map_quality.py DATA [--model efficientnet-lite0] [--threads 1] [--calibration PHOTOGRAPHS]

DATA/val-boxes/boxes.csv as for benchmarks/fit_size.py. Only photographs count whose boxes cover less than a quarter and
whose class the model predicts at its own size; the map is that of the true class. Printed per map, over all photographs
and over each half of them in the table's order:

    AP        average precision of pixels against the boxes; pixels with equal heat count as one
    pointing  the hottest pixel lies in a box
    IoU*      the best intersection over union with the boxes that any threshold reaches
    energy    share of the heat that lies in the boxes
    entropy   of the heat as a distribution over pixels, over that of the uniform one: 1 is flat, 0 a single pixel

The first three do not change if a map is raised to a power. Energy does: any sharpening raises it; therefore the
entropy is printed too. Time is relative to one pass, measured image by image.

The other libraries get the same network and the same input. Their maps are laid over the photograph as these libraries
do it: resized to the whole photograph, whatever the distance of the cells.

With --calibration (photographs that are not in DATA), int8 is measured too. For each precision the changes over all of
DATA's photographs are printed: the best class, its score, and the difference between the map's sum and the logit.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fit_size import boxed
from others import SHOWN, Other, attached, laid_over
from PIL import Image

import camserve
from camserve.config import Settings, load_settings
from camserve.explain import open_photo
from camserve.metrics import baselines
from camserve.metrics.complexity import entropy
from camserve.metrics.localisation import best_iou, energy, pixel_ap, pointing
from camserve.models.inputs.preprocessing import to_input

ONE_PASS = "one pass"

Map = Callable[[Image.Image, int], np.ndarray]


def scores(heat: np.ndarray, inside: np.ndarray) -> tuple[float, ...]:
    """Return (AP, pointing, IoU*, energy, entropy) of heat (H, W), never negative, for a mask (H, W)."""
    placed = [metric(heat, inside) for metric in (pixel_ap, pointing, best_iou, energy)]
    return *placed, entropy(heat) / np.log(heat.size)


def uniform(photo: Image.Image, index: int) -> np.ndarray:
    """Return the same heat everywhere."""
    return baselines.uniform(photo.size[::-1])


def centre(photo: Image.Image, index: int) -> np.ndarray:
    """Return a Gaussian around the centre; its deviation is a quarter of each side."""
    return baselines.centre(photo.size[::-1])


def random(photo: Image.Image, index: int) -> np.ndarray:
    """Return 7 x 7 random numbers, resized: as coarse as a real map."""
    return baselines.random(photo.size[::-1], index)


def once(model: camserve.Model) -> Map:
    """Return the map of one pass."""
    return lambda photo, index: model.explain(photo, target=index, sharp=False).heatmap


def four_passes(model: camserve.Model) -> Map:
    """Return the sum of four maps, two sizes and their mirror images; each positive part is divided by its maximum."""
    size = model.card.input.size

    def total(photo: Image.Image, index: int) -> np.ndarray:
        mirror = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        once = [model.explain(photo, target=index, size=side, sharp=False).heatmap for side in (size, 2 * size)]
        twice = [model.explain(mirror, target=index, size=side, sharp=False).heatmap for side in (size, 2 * size)]
        return sum(once) + sum(twice)[:, ::-1]

    return total


def shared(model: camserve.Model, size: int) -> Map:
    """Return the map of one pass with this short side; similar places share their evidence."""
    return lambda photo, index: model.explain(
        photo, target=index, method="affinitycam", size=size, sharp=False
    ).heatmap.clip(0)


def theirs(model: camserve.Model, other: Other) -> Map | None:
    """Return another library's map; None if the library is not installed."""
    maps = attached(other, model)

    def laid(photo: Image.Image, index: int) -> np.ndarray:
        assert maps is not None
        pixels = to_input(open_photo(model, photo), model.frame(photo.size), model.card.input)
        return laid_over(other.library, maps(pixels, [index])[0], photo.size)

    return None if maps is None else laid


def main() -> None:
    """Print one row per map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--count", type=int, help="so many photographs at most; default: all")
    parser.add_argument("--only", help="names of maps, separated by commas; one pass is always there")
    parser.add_argument("--calibration", type=Path, help="photographs that int8 is calibrated on")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = camserve.load(options.model)
    small = [row[:3] for row in boxed(options.data) if row[3] < 0.25][: options.count]
    right = [row for row in small if model.explain(row[0], sharp=False).logits.argmax() == row[1]]
    print(f"{options.model}, {len(right)} of {len(small)} photographs with small boxes, torch {torch.__version__}")
    heads = ("AP", "pointing", "IoU*", "energy", "entropy", "time")
    print(f"{'':32}" + "".join(f"{head:>9}" for head in heads) + "   AP pointing IoU* of either half")
    short = {name: camserve.load(model.name, settings=made) for name, made in precisions(options.calibration).items()}
    maps = maps_of(model, short)
    asked = {ONE_PASS, *options.only.split(",")} if options.only else set(maps)
    measured = measure({name: made for name, made in maps.items() if name in asked}, right)
    for name, (figures, seconds) in measured.items():
        ratio = np.median(seconds / measured[ONE_PASS][1])
        half = len(figures) // 2
        halves = "  ".join(" ".join(f"{v:.3f}" for v in part.mean(0)[:3]) for part in (figures[:half], figures[half:]))
        print(f"{name:32}" + "".join(f"{value:9.3f}" for value in figures.mean(0)) + f"{ratio:9.1f}   {halves}")

    every = [(photo, index) for photo, index, *_ in boxed(options.data)][: options.count]
    for name, other in short.items():
        if f"{ONE_PASS} in {name}" in asked:
            print(changed(model, other, name, every))


def precisions(calibration: Path | None) -> dict[str, Settings]:
    """Return the settings of each precision below float32."""
    asked = {"bfloat16": {}} if calibration is None else {"bfloat16": {}, "int8": {"calibration": str(calibration)}}
    return {name: load_settings(overrides={"compute": {"precision": name, **more}}) for name, more in asked.items()}


def changed(model: camserve.Model, other: camserve.Model, name: str, photos: list[tuple[Image.Image, int]]) -> str:
    """Return as text what another precision changes."""
    rows = []
    for photo, index in photos:
        one, two = (made.explain(photo, sharp=False) for made in (model, other))
        best = int(one.logits.argmax())
        right = [int(made.logits.argmax()) == index for made in (one, two)]
        off = abs(float(one.scores[best] - two.scores[best]))
        rows.append((*right, best == int(two.logits.argmax()), off, two.completeness))
    float32, right, same, off, missing = np.array(rows, float).T
    return (
        f"{name}, {len(rows)} photographs: right {right.mean():.3f} (float32 {float32.mean():.3f}), the same best "
        f"class {same.mean():.3f}; its score is off by {off.mean():.3f} on average, {off.max():.2f} at most; maps miss "
        f"their logit by {np.median(missing):.1g}, at most {missing.max():.1g}"
    )


def maps_of(model: camserve.Model, short: dict[str, camserve.Model]) -> dict[str, Map]:
    """Return the compared maps by name."""
    others = {str(other): made for other in SHOWN if (made := theirs(model, other)) is not None}
    rounded = {f"{ONE_PASS} in {name}": once(other) for name, other in short.items()}
    return {
        "random": random,
        "uniform": uniform,
        "centre Gaussian": centre,
        ONE_PASS: once(model),
        "affinitycam": shared(model, model.card.input.size),
        "affinitycam at twice the size": shared(model, 2 * model.card.input.size),
        "four passes, summed": four_passes(model),
        "sharp": lambda photo, index: model.explain(photo, target=index, sharp=True).heatmap,
        **rounded,
        **others,
    }


def measure(maps: dict[str, Map], photos: list[tuple[Image.Image, int, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Return for each map [figures (photographs, 5), seconds (photographs,)]. All maps run photograph by photograph."""
    rows: dict[str, list[tuple[tuple[float, ...], float]]] = {name: [] for name in maps}
    for photo, index, inside in photos:
        for name, made in maps.items():
            start = time.perf_counter()
            heat = made(photo, index)
            seconds = time.perf_counter() - start
            rows[name].append((scores(heat, inside), seconds))
    return {name: [np.array(part) for part in zip(*found, strict=True)] for name, found in rows.items()}


if __name__ == "__main__":
    main()
