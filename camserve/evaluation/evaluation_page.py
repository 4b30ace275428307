"""Writes the page of an evaluation and its files: OUT/evaluation.html, evaluation.json, evaluation.csv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from camserve.catalogue.metrics import METRICS
from camserve.catalogue.run_files import RESULTS
from camserve.evaluation.figures import draw_figures
from camserve.evaluation.standings import Evaluation, Row
from camserve.evaluation.standings_tables import csv_table
from camserve.findings.report_page import PAGES, TEMPLATES
from camserve.findings.results import read_rows
from camserve.system.files import write_whole
from camserve.version import __version__

# Number of pictures of the best and of the worst cases of each metric.
SHOWN = 4


def write_evaluation(out: Path, found: Evaluation, model: str, source: str, *, figures: bool = False) -> None:
    """Write an evaluation into OUT, beside the run's results. figures: also write evaluation.svg and evaluation.pdf.

    model: its name. source: the source of the images. Raises OutputError, and OptionError if figures cannot be drawn.
    """
    facts = {"model": model, "source": source, **found.to_dict()}
    write_whole(out / "evaluation.json", _bytes(json.dumps(facts, ensure_ascii=False, indent=1)))
    write_whole(out / "evaluation.csv", _bytes(csv_table(found.standings, found.baselines)))
    if figures:
        draw_figures(found, out)
    page = PAGES.get_template("evaluation.html").render(
        css=(TEMPLATES / "report.css").read_text("utf-8") + (TEMPLATES / "compare.css").read_text("utf-8"),
        js=(TEMPLATES / "enlarge.js").read_text("utf-8"),
        model=model, source=source, found=found, metrics=[METRICS[name] for name in found.metrics],
        cases=list(_cases(out, found)), version=__version__,
    )  # fmt: skip
    write_whole(out / "evaluation.html", _bytes(page))


def _cases(out: Path, found: Evaluation) -> Iterator[dict[str, Any]]:
    """For each metric that orders methods: the images for which the recommended method is best and worst."""
    best = found.recommended
    if best is None or not (out / RESULTS).exists():  # images in memory have no pictures on disk
        return
    measured = [(row, one) for row, one in _measured(read_rows(out), best.name)]
    for name in found.ranking:
        with_value = [pair for pair in measured if pair[1]["metrics"].get(name) is not None]
        sign = -1 if METRICS[name].more_is_better else 1
        order = np.argsort([sign * one["metrics"][name] for _, one in with_value], kind="stable")
        if len(order) < 2 * SHOWN:
            continue
        for which, places in (("best", order[:SHOWN]), ("worst", order[::-1][:SHOWN])):
            pictures = [_picture(with_value[place], name) for place in places]
            yield {"metric": METRICS[name], "method": best.name, "which": which, "pictures": pictures}


def _measured(rows: Any, method: str) -> Iterator[tuple[Row, Row]]:
    """The fields of each row that the page needs; other fields would take memory for all images."""
    kept = "metrics", "class_name", "score", "files"
    for row in rows:
        if row["status"] == "ok":
            found = next((o for o in row["explanations"] if o["method"] == method and o.get("metrics")), None)
            if found is not None:
                yield {"file": row["file"]}, {key: found[key] for key in kept}


def _picture(measured: tuple[Row, Row], metric: str) -> dict[str, Any]:
    row, one = measured
    files = one["files"]
    return {
        "file": row["file"], "class": one["class_name"], "score": one["score"], "value": one["metrics"][metric],
        "overlay": files.get("overlay"), "thumbnail": files.get("thumbnail"),
    }  # fmt: skip


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
