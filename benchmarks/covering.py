"""How much score does covering a random place cost? This sets the margin that confirms a shortcut in covering.py.

    python benchmarks/covering.py DATA [--model efficientnet-lite0] [--sides 3 5 7] [--images 8]

DATA/samples/images: photographs of objects. On each, a random square of SIDE x SIDE of the 16 x 16 cells is covered,
and also its mirror image through the centre, as `camserve batch` does. Printed for each side, over 20,000 sets of
--images photographs: the share of sets that lose at least 0.1 (less refutes a shortcut), at least 0.2, and at least 0.2
with three of four photographs agreeing (this confirms a shortcut).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import camserve
from camserve.batch.shortcut_test import IMAGES, painted
from camserve.explanation.class_scores import scores_of
from camserve.findings.covering import AGREEING, CONFIRMS, REFUTES
from camserve.findings.sketch import SIDE

SETS = 20_000


def scores(model: camserve.Model, pixels: np.ndarray, sides: list[int], random: np.random.Generator) -> np.ndarray:
    """Return (sides, 3): the predicted class's score, also with a square covered, and with its mirror image covered."""
    found = []
    first = model.explain(pixels)
    index = first.class_index
    for side in sides:
        left, top = random.integers(0, SIDE + 1 - side, 2)
        cells = np.zeros((SIDE, SIDE), bool)
        cells[top : top + side, left : left + side] = True
        covered = (painted(pixels, each) for each in (cells, cells[::-1, ::-1] & ~cells))
        logits = [first.logits, *(model.explain(each, target=index).logits for each in covered)]
        found.append([float(scores_of(each, each_alone=False)[index]) for each in logits])
    return np.array(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--sides", type=int, nargs="+", default=[3, 5, 7])
    parser.add_argument("--images", type=int, default=IMAGES, help="in a set (default: %(default)s)")
    asked = parser.parse_args()
    model, random = camserve.load(asked.model), np.random.default_rng(0)
    files = sorted((asked.data / "samples" / "images").iterdir())
    found = np.array(
        [scores(model, np.asarray(Image.open(file).convert("RGB")), asked.sides, random) for file in files]
    )
    print(f"{len(files)} photographs; side: share of sets from {REFUTES}, from {CONFIRMS}, confirmed")
    for place, side in enumerate(asked.sides):
        sets = found[np.array([random.choice(len(files), asked.images, replace=False) for _ in range(SETS)]), place]
        before, covered, elsewhere = (sets[..., each] for each in range(3))
        cost = (elsewhere - covered).mean(1) / before.mean(1)
        agree = (covered < elsewhere).sum(1) >= AGREEING * asked.images
        shares = [(cost >= REFUTES).mean(), (cost >= CONFIRMS).mean(), ((cost >= CONFIRMS) & agree).mean()]
        print(f"{side} x {side}: {', '.join(f'{share:.3f}' for share in shares)}")


if __name__ == "__main__":
    main()
