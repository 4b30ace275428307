"""Measure every method with every metric, for several models, and also other libraries' maps.

    python benchmarks/quality.py DATA [--model CARD ...] [--count 20] [--most 100] [--few 2] [--dearest 5000] [--write]

DATA/val-boxes: photographs with boxes. --count photographs are measured, the same for every row: their box is less than
a quarter of the picture, and the model answers correctly. Methods that need more than --most runs of the network for a
map have their own table, for the first --few of these photographs, with `cam` for comparison. Methods that need more
than --dearest runs are left out, and named with their cost. --write writes the page benchmarks/quality.md.

insertion and deletion take 20 steps, as in `camserve evaluate`. GridPG's mosaics are made of the same photographs.
"""

import argparse
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fit_size import boxed
from others import SHOWN, Maps, attached, laid_over
from PIL import Image

import camserve
from camserve.catalogue.method import Runs
from camserve.catalogue.metric import Asks
from camserve.catalogue.metrics import METRICS
from camserve.catalogue.options import ExplainOptions
from camserve.datasets.inputs import Item
from camserve.errors import CamserveError
from camserve.evaluation.examining import Examiner
from camserve.evaluation.mosaics import Mosaics, pool_of
from camserve.evaluation.standings import STEPS, Evaluation
from camserve.explain import open_photo, to_input
from camserve.explain.estimate import facts_of
from camserve.explain.questioned import subject_of
from camserve.methods import METHODS
from camserve.metrics.measure import measure
from camserve.version import __version__

PAGE = Path(__file__).parent / "quality.md"
# Metrics of one picture, without infidelity, max-sensitivity and ROAD, which take as long as all others together.
ASKED = [
    "insertion", "deletion", "average_drop", "increase", "adcc", "pointing", "pixel_ap", "best_iou", "energy",
    "grid_pg", "grid_auroc", "sparseness",
]  # fmt: skip

Photographs = list[tuple[Image.Image, int, np.ndarray]]


def right_ones(model: camserve.Model, data: Path, count: int) -> Photographs:
    """Return `count` photographs with small objects that the model answers correctly, spread over the data set."""
    found = [one[:3] for one in boxed(data) if one[3] < 0.25]
    right = [one for one in found if model.explain(one[0], sharp=False).top(1)[0].class_index == one[1]]
    step = max(1, len(right) // count)
    return right[::step][:count]


def affordable(model: camserve.Model, dearest: int) -> tuple[dict[str, int], dict[str, str]]:
    """Return the methods that work with the model, with their runs for a map; and why the others are left out."""
    going, left_out = dict[str, int](), dict[str, str]()
    photo = open_photo(model, Image.new("RGB", (224, 224), (90, 120, 60)))
    pixels = to_input(photo, model.frame(photo.size), model.card.input)
    layer = model.layer()
    facts = facts_of(model, layer, layer.observe(pixels)[0], layer.observe(pixels)[0].shape[1])
    for method in METHODS.values():
        runs = 0 if method.cost.of is Runs.HEAD else method.cost.runs(facts)
        if runs > dearest:
            left_out[method.name] = f"{runs} runs of the network"
            continue
        try:
            model.explain(photo, method=method.name)
            going[method.name] = runs
        except CamserveError as error:
            left_out[method.name] = str(error).split(";")[0].split(". ")[0]
    return going, left_out


def others_for(model: camserve.Model) -> tuple[dict[str, tuple[str, Maps]], dict[str, str]]:
    """Return the other libraries' methods with library and maps; and why methods that refuse the model are left out."""
    going, left_out = dict[str, tuple[str, Maps]](), dict[str, str]()
    for other in SHOWN:
        try:
            if (maps := attached(other, model)) is not None:
                going[str(other)] = other.library, maps
        except ValueError as error:
            left_out[str(other)] = str(error)
    return going, left_out


def rows(
    model: camserve.Model,
    photographs: Photographs,
    methods: Sequence[str],
    others: Mapping[str, tuple[str, Maps]],
) -> Iterator[dict[str, Any]]:
    """Yield a row of `Evaluation` for each photograph: our methods, the other libraries' maps, baselines."""
    items = [Item(str(place), "", expected=str(one[1])) for place, one in enumerate(photographs)]

    def opened(item: Item) -> Any:
        return open_photo(model, photographs[int(item.name)][0])

    examiner = Examiner(model, ASKED, Mosaics(model, pool_of(items), opened))
    for item, (_, index, inside) in zip(items, photographs, strict=True):
        photo, made, took = opened(item), [], []
        for name in methods:
            begun = time.perf_counter()
            made.append((ExplainOptions(method=name), model.explain(photo, target=index, method=name)))
            took.append(time.perf_counter() - begun)
        found, baselines = examiner.image(item, photo, made, inside)
        explanations = [
            {"method": name, "metrics": one, "seconds": seconds}
            for name, one, seconds in zip(methods, found, took, strict=True)
        ]
        for name, (library, maps) in others.items():
            begun = time.perf_counter()
            measured = of_other(model, made[0][1], library, maps, inside)
            explanations.append({"method": name, "metrics": measured, "seconds": time.perf_counter() - begun})
        yield {"status": "ok", "explanations": explanations, "baselines": baselines}


def of_other(
    model: camserve.Model, one: camserve.Explanation, library: str, maps: Maps, inside: np.ndarray
) -> dict[str, float | None]:
    """Measure another library's map of the same input and class, laid over the picture as that library does it."""
    subject = replace(subject_of(model, one, one.photo), steps=STEPS, explain=None)
    pixels = to_input(one.photo, one.placement.frame, model.card.input)
    grid_map = maps(pixels, [one.class_index])[0]
    height, width = subject.heat.shape
    subject = replace(subject, map=grid_map, heat=np.asarray(laid_over(library, grid_map, (width, height)), np.float32))
    heat = np.asarray(laid_over(library, grid_map, one.size))
    asked = [METRICS[name] for name in ASKED if METRICS[name].asks is not Asks.IMAGES and name != "adcc"]
    return {metric.name: measure(metric, subject, heat=heat, inside=inside) for metric in asked}


def table(found: Evaluation) -> str:
    """Return a Markdown table, a method per line, in the registry's order; then other libraries' maps and baselines."""
    heads = ["", *(f"{name} {'↑' if METRICS[name].more_is_better else '↓'}" if METRICS[name].more_is_better is not None
                   else name for name in ASKED), "ms"]  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    own = [*METHODS, *map(str, SHOWN)]
    ordered = sorted(found.standings, key=lambda one: own.index(one.name))
    for kind, several in enumerate((ordered, found.baselines)):
        for one in several:
            name = f"*{one.name}*" if kind or " " in one.name else f"`{one.name}`"
            cells = [f"{one.figures[metric].mean:.3f}" if metric in one.figures else "" for metric in ASKED]
            lines.append([name, *cells, "" if one.seconds is None or kind else f"{1000 * one.seconds:.0f}"])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    """Measure each model, print its table, and write the page with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", help="can be repeated; default: the three embedded ones")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--most", type=int, default=100, help="runs of the network for one map")
    parser.add_argument("--few", type=int, default=2, help="photographs for methods of more runs")
    parser.add_argument("--dearest", type=int, default=5000, help="runs above which a method is left out")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    models = options.model or ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
    page, asked = io.StringIO(), "".join(f" --model {name}" for name in options.model or ())
    page.write(
        "# Every method by every metric\n\n"
        f"`python benchmarks/quality.py DATA{asked} --count {options.count} --most {options.most} --few {options.few} "
        f"--dearest {options.dearest} --write` made this page, with camserve {__version__}. Photographs with small "
        "objects that the model answers rightly. Rows in italics are other libraries' maps of the same network and "
        "input, and, last, maps that know nothing. ms: the median time for one map, machine shared. What each metric "
        "says: [docs/metrics.md](../docs/metrics.md).\n"
    )
    for name in models:
        model = camserve.load(name)
        photographs = right_ones(model, options.data, options.count)
        runs, left_out = affordable(model, options.dearest)
        cheap, dear = ([name for name in runs if (runs[name] > options.most) is is_dear] for is_dear in (False, True))
        others, refused = others_for(model)
        left_out |= refused
        found = Evaluation(ASKED, rows(model, photographs, cheap, others))
        page.write(f"\n## {model.name}, {len(photographs)} photographs\n\n{table(found)}\n")
        if dear:
            few = photographs[: options.few]
            found = Evaluation(ASKED, rows(model, few, ["cam", *dear], {}))
            page.write(f"Methods of more than {options.most} runs, on the first {len(few)} of these photographs:\n\n")
            page.write(f"{table(found)}\n")
        page.write(f"Left out: {'; '.join(f'{key} ({why})' for key, why in left_out.items())}.\n")
        print(page.getvalue().rpartition("\n## ")[2], flush=True)
        if options.write:  # also before the next model, which can take an hour
            PAGE.write_text(page.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
