"""Which short side should size="fit" have? Top-1 accuracy and map quality over a range of sizes.

    python benchmarks/fit_size.py DATA [--model efficientnet-lite0] [--sizes 192 224 256 ...]

DATA/samples/labels.csv (file, class_index) with images/: photographs of known class.
DATA/val-boxes/boxes.csv (file, class_index, orig_w, orig_h, boxes_227_xyxy, box_area_frac_union) with images/:
photographs squashed to 227 x 227, with boxes in those pixels; restored to their own shape before use.

Printed per size: top-1 on both sets and the mean score of the true class on the first set; and, for photographs whose
boxes cover less than a quarter, for the true class: pointing (the hottest pixel lies in a box) and average precision of
pixels against the boxes. Neither number changes if a map is raised to a power.
"""

import argparse
import ast
import csv
from pathlib import Path

import numpy as np
from PIL import Image

import camserve
from camserve.config.schema import load_settings


def average_precision(heat: np.ndarray, inside: np.ndarray) -> float:
    """Area under precision over recall, pixels ranked by heat."""
    order = np.argsort(-heat, axis=None, kind="stable")
    hits = inside.ravel()[order]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    return float(precision[hits].mean())


def boxed(data: Path) -> list[tuple[Image.Image, int, np.ndarray, float]]:
    """Return (photograph in its own shape, class, mask of the boxes (H, W), share of the area)."""
    found = []
    folder = data / "val-boxes"
    for row in csv.DictReader((folder / "boxes.csv").open()):
        size = int(row["orig_w"]), int(row["orig_h"])
        path = next(folder.rglob(row["file"]))
        photo = Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        mask = np.zeros((size[1], size[0]), bool)
        for left, top, right, bottom in ast.literal_eval(row["boxes_227_xyxy"]):
            x, y = size[0] / 227, size[1] / 227
            mask[round(top * y) : round(bottom * y), round(left * x) : round(right * x)] = True
        found.append((photo, int(row["class_index"]), mask, float(row["box_area_frac_union"])))
    return found


def main() -> None:
    """Print one row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--sizes", nargs="+", default=["crop", 192, 224, 256, 288, 320, 384])
    options = parser.parse_args()
    settings = load_settings(overrides={"explain": {"own_answer": False}})  # what an input of this size answers
    model = camserve.load(options.model, settings=settings)
    samples = list(csv.DictReader((options.data / "samples/labels.csv").open()))
    boxes = boxed(options.data)
    heads = ("samples top-1", "their score", "boxes top-1", "pointing", "pixel AP")
    print(f"{'size':>6} " + " ".join(f"{head:>14}" for head in heads))
    for size in options.sizes:
        right, scores = [], []
        for row in samples:
            index = int(row["class_index"])
            explanation = model.explain(options.data / "samples/images" / row["file"], target=index, size=size)
            right.append(explanation.top(1)[0].class_index == index)
            scores.append(explanation.score)
        top1, pointing, precision = [], [], []
        for photo, index, mask, share in boxes:
            explanation = model.explain(photo, target=index, size=size)
            top1.append(explanation.top(1)[0].class_index == index)
            if share < 0.25:
                heat = np.nan_to_num(explanation.heatmap)
                pointing.append(mask.ravel()[heat.argmax()])
                precision.append(average_precision(heat, mask))
        row = np.mean(right), np.mean(scores), np.mean(top1), np.mean(pointing), np.mean(precision)
        print(f"{size:>6} " + " ".join(f"{value:14.3f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
