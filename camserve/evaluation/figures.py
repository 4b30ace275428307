"""Draws figures for a paper with matplotlib: each method's mean and interval for each metric, as SVG and PDF."""

from pathlib import Path
from typing import Any

from camserve.catalogue.metrics import METRICS
from camserve.evaluation.standings import Evaluation
from camserve.explanation.matplotlib_axes import FORMATS, check_matplotlib
from camserve.system.files import make_folder

# Width of one metric's panel, and height of one method's row, in inches.
_WIDTH, _ROW = 3.0, 0.24


def draw_figures(found: Evaluation, out: Path) -> list[Path]:
    """Write OUT/evaluation.svg and OUT/evaluation.pdf: one panel per metric, one row per method. Raises OptionError."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    make_folder(out)
    rows = [*found.standings, *found.baselines]
    size = (_WIDTH * max(1, len(found.metrics)), 1.1 + _ROW * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(1, len(found.metrics)), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, found.metrics, strict=False):
        _panel(panel, name, found)
    panels[0].set_yticks(range(len(rows)), [one.name for one in rows])
    panels[0].invert_yaxis()
    paths = [out / f"evaluation.{ending}" for ending in FORMATS]
    for path in paths:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"CreationDate": None})
    return paths


def _panel(panel: Any, name: str, found: Evaluation) -> None:
    for place, one in enumerate((*found.standings, *found.baselines)):
        figure, colour = one.figures.get(name), "#8a857d" if one in found.baselines else "#b83a14"
        if figure is None:
            continue
        if figure.low is not None:
            panel.plot([figure.low, figure.high], [place, place], color=colour, linewidth=1.5)
        panel.plot([figure.mean], [place], "o", color=colour, markersize=4)
    more = METRICS[name].more_is_better
    panel.set_title(METRICS[name].title, fontsize=10)
    panel.set_xlabel("" if more is None else "more is better" if more else "less is better", fontsize=8)
    panel.grid(axis="x", color="#dedad3", linewidth=0.6)
    panel.tick_params(labelsize=8)
