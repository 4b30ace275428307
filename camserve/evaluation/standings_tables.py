"""The figures of an evaluation as text and as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from camserve.catalogue.metrics import METRICS
from camserve.evaluation.intervals import Figure


@dataclass(frozen=True)
class Standing:
    """The figures of one method or one baseline.

    figures: by metric. rank: 0 if no other method is better in any metric, 1 if all others are better in every metric;
    None for baselines, and if no metric orders methods. seconds: the median time for one image. cost: in words.
    """

    name: str
    figures: dict[str, Figure]
    rank: float | None
    seconds: float | None
    cost: str


def text_table(metrics: Sequence[str], methods: Sequence[Standing], baselines: Sequence[Standing]) -> Iterator[str]:
    """Yield aligned lines, one per method, best first; then the baselines."""
    lines = [["method", *metrics, "time"], ["", *(f"{METRICS[name].better} is better" for name in metrics), ""]]
    lines += [[one.name, *_figures(one, metrics), _took(one)] for one in methods]
    lines += [[f"({one.name})", *_figures(one, metrics), ""] for one in baselines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(metrics) + 2)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def csv_table(methods: Sequence[Standing], baselines: Sequence[Standing]) -> str:
    """A CSV table with one line for each method or baseline and each metric."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["method", "baseline", "metric", "mean", "low", "high", "images", "better", "seconds"])
    for kind, several in enumerate((methods, baselines)):
        for one in several:
            for name, figure in one.figures.items():
                numbers = figure.mean, figure.low, figure.high, figure.count
                table.writerow([one.name, kind, name, *numbers, METRICS[name].better, one.seconds])
    return text.getvalue()


def _figures(one: Standing, metrics: Sequence[str]) -> list[str]:
    return [one.figures[name].in_short if name in one.figures else "-" for name in metrics]


def _took(one: Standing) -> str:
    return "" if one.seconds is None else f"{1000 * one.seconds:.0f} ms"
