"""Which input should decide the predicted class? The model's own crop, the whole photograph, or a window of its map.

    python benchmarks/own_answer.py DATA [--model efficientnet-lite0] [--repeats 5]

DATA/samples/labels.csv (file, class_index) with images/: photographs of known class.

Printed for the model's own evaluation crop, for the whole photograph at the size of `fit` and at the scale of the crop,
and for the cells of the last two inside the crop (the mean of the class maps there, plus bias): top-1, the mean score
of the true class, how many answers differ from the crop's, and the share of photographs to ask again if every answer is
doubted whose lead is at most the largest lead of a differing answer.
Then the cost of `explain.own_answer`: median CPU time of `explain`, and of `explain` with a JPEG of its overlay,
alternately on and off.
"""

import argparse
import csv
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import camserve
from camserve.config.schema import load_settings
from camserve.explanation.class_scores import scores_of
from camserve.geometry.frame import Frame

Float64 = npt.NDArray[np.float64]


def in_window(explanation: camserve.Explanation, crop: Frame) -> Float64:
    """Return the logits (C,) of the cells inside the crop's box: bias + the mean of the class maps there."""
    account, place = explanation.account, explanation.placement
    assert account is not None
    maps = np.stack([account.class_map(index) for index in range(len(explanation.labels))])
    left, top, right, bottom = crop.box
    first, last = place.cell_at(left - 0.5, top - 0.5), place.cell_at(right - 0.5, bottom - 0.5)
    across, down = (_covered(n, first[axis], last[axis]) for axis, n in enumerate(place.grid))
    weights = np.outer(down, across)
    found: Float64 = (maps * (weights / weights.sum())).sum((1, 2)) + np.asarray(account.bias)
    return found


def _covered(cells: int, first: float, last: float) -> Float64:
    """Return how much of each cell, of width 1 around its centre, lies between two places of the grid."""
    centre = np.arange(cells)
    covered: Float64 = np.clip(np.minimum(centre + 0.5, last) - np.maximum(centre - 0.5, first), 0, 1)
    return covered


def decisions(model: camserve.Model, photographs: list[tuple[Path, int]]) -> None:
    """Print a row for each input that the decision may come from."""
    found: dict[str, list[npt.NDArray[np.floating]]] = {}
    larger = round(model.card.input.size / model.card.input.crop)
    for path, _ in photographs:
        own = model.explain(path, size="crop")
        found.setdefault("own crop", []).append(own.logits)
        for name, size in (("fit", "fit"), (f"{larger}", larger)):
            whole = model.explain(path, size=size)
            found.setdefault(name, []).append(whole.logits)
            found.setdefault(f"{name}, cells in the crop", []).append(in_window(whole, own.placement.frame))
    truth = np.array([index for _, index in photographs])
    answers = np.stack(found["own crop"]).argmax(1)
    print(f"{'decision from':>24} {'top-1':>7} {'true score':>11} {'differ':>7} {'to ask again':>13}")
    for name, logits in found.items():
        best = np.stack(logits).argmax(1)
        leads = np.array([np.diff(np.sort(one)[-2:])[0] for one in logits])
        differs = best != answers
        again = (leads <= leads[differs].max()).mean() if differs.any() else 0.0
        scored = [scores_of(np.float32(one), each_alone=False)[index] for one, index in zip(logits, truth, strict=True)]
        top1 = (best == truth).mean()
        print(f"{name:>24} {top1:7.3f} {np.mean(scored):11.3f} {differs.sum():7} {again:13.2f}")


def costs(models: dict[str, camserve.Model], photographs: list[Path], repeats: int) -> None:
    """Print CPU milliseconds a photograph with the own answer on and off, and their ratio."""

    def overlay(model: camserve.Model, path: Path) -> None:
        model.explain(path).overlay().save(io.BytesIO(), "jpeg", quality=90)

    what: dict[str, Callable[[camserve.Model, Path], object]] = {
        "explain": lambda model, path: model.explain(path),
        "explain, overlay as JPEG": overlay,
    }
    for name, act in what.items():
        spent: dict[str, list[float]] = {key: [] for key in models}
        for _ in range(repeats + 1):
            for key, model in models.items():
                begun = time.process_time()
                for path in photographs:
                    act(model, path)
                spent[key].append(1e3 * (time.process_time() - begun) / len(photographs))
        on, off = (statistics.median(spent[key][1:]) for key in ("on", "off"))
        print(f"{name}: {on:.2f} ms with the own answer, {off:.2f} without: {on / off:.2f} x")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    switched = {key: load_settings(overrides={"explain": {"own_answer": key == "on"}}) for key in ("on", "off")}
    models = {key: camserve.load(options.model, settings=settings) for key, settings in switched.items()}
    rows = csv.DictReader((options.data / "samples/labels.csv").open())
    photographs = [(options.data / "samples/images" / row["file"], int(row["class_index"])) for row in rows]
    decisions(models["off"], photographs)
    costs(models, [path for path, _ in photographs[:40]], options.repeats)


if __name__ == "__main__":
    main()
