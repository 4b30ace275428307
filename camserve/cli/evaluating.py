"""`camserve evaluate` compares methods by metrics over images, and recommends a method."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.catalogue.methods import parse_methods
from camserve.cli.prechecks import check_model
from camserve.cli.program import INTERRUPTED, NOTHING_USABLE, SOME_FAILED, Place, read_settings
from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.batch import Summary

OUT = Path("evaluated")


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("images", metavar="IMAGES")
@click.option("-o", "--out", type=Place(), default=OUT, show_default=True, help="Folder of results.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help="Method to compare. Can be repeated, or a,b,c; all is every method.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metric or group of metrics. Can be repeated, or a,b,c.",
)
@click.option("--boxes", type=Place(), help="Where the objects are: a .csv with file, left, top, right, bottom.")
@click.option("--masks", type=Place(), help="Where the objects are: a folder with a mask for each image.")
@click.option(
    "--folders-are-classes", is_flag=True, help="The names of the folders below IMAGES are the classes they show."
)
@click.option("--figures", is_flag=True, help="Also draw figures for a paper, as SVG and PDF (needs matplotlib).")
@click.option("--engine-cluster", type=click.Choice(["ray"]), help="Run on a Ray cluster.")
@click.option("--resume", is_flag=True, help="Resume a run that was killed or stopped.")
@click.option("--restart", is_flag=True, help="Remove what the run in OUT wrote, and start again.")
@click.option("--quiet", is_flag=True, help="Print only the result, at the end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table, no progress.")
@click.pass_obj
def evaluate(
    config: Path | None,
    /,
    model: str,
    images: str,
    out: Path,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    boxes: Path | None,
    masks: Path | None,
    folders_are_classes: bool,
    figures: bool,
    engine_cluster: str | None,
    resume: bool,
    restart: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Which method explains this model best? Compare methods by metrics over images.

    IMAGES is a folder, a pattern in quotes, a list (.txt), or a table (.csv) with the columns file and class. If the
    classes are known, mosaics of four of your own images show whether a map finds its class (GridPG); this needs no
    boxes. The table also has three baseline maps that do not depend on the picture: centre, uniform, random. Writes
    OUT/evaluation.html, evaluation.json and evaluation.csv, beside what `camserve batch` writes.

    \b
    Exit status: 0 all measured, 1 some images failed, 3 none could be explained, 4 OUT cannot be written,
    130 interrupted.
    \b
    Example:
      camserve evaluate efficientnet-lite0 photos
      camserve evaluate my-card labels.csv --method cam,gradcam --metric gridpg,deletion --boxes boxes.csv
    """
    from camserve.batch import Options
    from camserve.batch.preflight import check_run
    from camserve.batch.progress import progress_for
    from camserve.batch.ray_cluster import Cluster
    from camserve.catalogue.metrics import parse_metrics
    from camserve.evaluation.comparing_methods import usual_methods, usual_metrics
    from camserve.evaluation.examining import check_metrics
    from camserve.explanation.matplotlib_axes import check_matplotlib

    settings = read_settings(config)
    if boxes is not None and masks is not None:
        raise OptionError("--boxes and --masks both say where the objects are: give one of them")
    if figures:
        check_matplotlib()
    chosen = parse_methods(methods)
    objects = boxes or masks
    asked = parse_metrics(metrics) if metrics else usual_metrics(with_objects=objects is not None)
    check_metrics(asked)
    check_model(model, settings)
    how: dict[str, Any] = {"folders_are_classes": folders_are_classes, "objects": objects, "resume": resume,
                           "restart": restart}  # fmt: skip
    check_run(images, out, **how)
    from camserve.batch import run_batch
    from camserve.evaluation.evaluation_page import write_evaluation
    from camserve.evaluation.standings import Evaluation
    from camserve.findings.results import read_rows
    from camserve.model import load

    loaded = load(model, settings=settings)
    if not chosen:
        chosen, left_out = usual_methods(loaded)
        for name, why in left_out.items():
            click.echo(f"camserve: {name} is left out: {why}", err=True)
    options = Options(methods=chosen, metrics=asked)
    summary = run_batch(
        loaded,
        images,
        out,
        options,
        **how,
        cluster=Cluster() if engine_cluster else None,
        progress=progress_for(quiet=quiet or as_json),
    )
    found = Evaluation(asked, read_rows(out))
    write_evaluation(out, found, loaded.title, images, figures=figures)
    click.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else found)
    if not as_json:
        click.echo(f"-> {out / 'evaluation.html'}")
    sys.exit(_status(summary))


def _status(summary: "Summary") -> int:
    if summary.interrupted:
        return INTERRUPTED
    if not summary.failed:
        return 0
    return SOME_FAILED if summary.explained else NOTHING_USABLE
