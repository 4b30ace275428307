"""`camserve batch` explains a folder of any size. `camserve demo` explains the photographs that come with camserve."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.cli.explaining import check_classes
from camserve.cli.flags import Asked, explaining, threshold
from camserve.cli.prechecks import check_model
from camserve.cli.program import INTERRUPTED, NOTHING_USABLE, SOME_FAILED, Place, read_settings
from camserve.cli.summarising import in_words
from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.batch import Summary
    from camserve.batch.ray_cluster import Cluster


@click.command()
@click.argument("source", metavar="IN")
@click.argument("out", type=Place())
@click.option(
    "--folders-are-classes", is_flag=True, help="The names of the folders below IN are the classes they show."
)
@click.option("--objects", type=Place(), help="Where the objects are: a .csv of boxes, or a folder of masks.")
@click.option("--top", type=int, metavar="N", help="Explain the N best classes of each image.")
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="KIND",
    help="overlay, heatmap, mask, npy, map, boxes, polygons or none. Can be repeated. Default: overlay.",
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["jpeg", "png", "webp"]),
    default="jpeg",
    show_default=True,
    help="Format of overlays.",
)
@threshold
@click.option(
    "--export",
    "exports",
    multiple=True,
    type=click.Choice(["csv", "parquet", "coco", "fiftyone", "label-studio"]),
    help="Also write the results in this format. Can be repeated.",
)
@click.option("--engine-cluster", type=click.Choice(["ray"]), help="Run on a Ray cluster.")
@click.option(
    "--cluster-address",
    help="With --engine-cluster: address of a running cluster. Default: start one on this machine.",
)
@click.option(
    "--actors",
    type=click.IntRange(min=1),
    help="With --engine-cluster: number of actors. Default: as many as fit.",
)
@click.option("--resume", is_flag=True, help="Resume a run that was killed or stopped.")
@click.option("--restart", is_flag=True, help="Remove what the run in OUT wrote, and start again.")
@click.option("--keep-going", is_flag=True, help="Continue even if the first 200 images all fail for one reason.")
@click.option("--quiet", is_flag=True, help="Print only what failed, at the end.")
@click.option("--json", "as_json", is_flag=True, help="A JSON summary on standard output, no progress.")
@partial(explaining, taken=("--output",))
@click.pass_obj
def batch(
    config: Path | None,
    /,
    source: str,
    out: Path,
    folders_are_classes: bool,
    objects: Path | None,
    top: int | None,
    outputs: tuple[str, ...],
    image_format: str,
    threshold: float | None,
    exports: tuple[str, ...],
    engine_cluster: str | None,
    cluster_address: str | None,
    actors: int | None,
    resume: bool,
    restart: bool,
    keep_going: bool,
    quiet: bool,
    as_json: bool,
    asked: Asked,
) -> None:
    """Explain every image of IN into OUT.

    IN is a folder or its URI, a pattern in quotes, a list of files (.txt), or a table (.csv) with the columns file and,
    if you like, class (what the image shows) and target (what to explain). Writes OUT/results.jsonl, one line for each
    image, with the reason if it failed; pictures, in a folder for each kind; and OUT/index.html, a page that shows
    them. One bad file does not stop the rest. A run that was stopped by a kill, Ctrl-C or a full disk continues with
    --resume. A run in OUT of other images, options or weights is never overwritten without --restart.

    \b
    Exit status: 0 all explained, 1 some failed, 3 nothing could be explained or all failed alike,
    4 OUT cannot be written, such as a full disk, 130 interrupted.
    \b
    Example:
      camserve batch photos out
      camserve batch "photos/**/*.jpg" out --method cam --method layercam --output mask --output boxes
      camserve batch photos out --resume
    """
    from camserve.batch import Options
    from camserve.batch.preflight import check_exports, check_run
    from camserve.batch.progress import progress_for

    check_classes(top, targets=bool(asked.targets))
    output = only_output(asked)
    cluster = _cluster(engine_cluster, cluster_address, actors)
    settings = asked.settings(config, threshold=threshold)
    options = Options(
        methods=asked.methods or (settings.explain.method,),
        targets=asked.targets if top is None else top,
        how=replace(asked.how, output=output),
        look=asked.look,
        outputs=() if outputs == ("none",) else outputs or ("overlay",),
        image_format=image_format,
        threshold=settings.render.threshold,
    )
    check_model(asked.model, settings)
    check_exports(exports, options)
    how: dict[str, Any] = {"folders_are_classes": folders_are_classes, "objects": objects, "resume": resume,
                           "restart": restart}  # fmt: skip
    check_run(source, out, **how)
    from camserve.batch import run_batch

    summary = run_batch(
        asked.load(settings, output),
        source,
        out,
        options,
        **how,
        exports=exports,
        cluster=cluster,
        keep_going=keep_going,
        progress=progress_for(quiet=quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    elif not quiet:
        click.echo("\n".join(in_words(summary, out)))
    status = INTERRUPTED if summary.interrupted else 0
    if summary.failed and not summary.interrupted:
        status = SOME_FAILED if summary.explained else NOTHING_USABLE
    if summary.stopped or (status and (quiet or as_json or not summary.explained)):
        click.echo(f"camserve: {_reason(summary, out)}", err=True)
    sys.exit(status)


@click.command()
@click.option("-o", "--out", type=Place(), default=Path("camserve-demo"), show_default=True)
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.pass_obj
def demo(config: Path | None, /, out: Path, no_browser: bool) -> None:
    """Explain the photographs that come with camserve, and show the page.

    Writes the same as `camserve batch` into OUT, says in three lines what was found and where to look, and opens
    OUT/index.html in a browser if there is one. A second run shows the existing results again.

    \b
    Example:
      camserve demo
      camserve demo -o look --no-browser
    """
    from camserve.batch import Options, run_batch
    from camserve.batch.progress import progress_for
    from camserve.catalogue.options import OverlayOptions
    from camserve.config.schema import shipped
    from camserve.explanation.showing import open_page
    from camserve.model import load

    settings = read_settings(config)
    options = Options(
        methods=(settings.explain.method,),
        look=OverlayOptions(legend=True),
        outputs=("overlay",),
        threshold=settings.render.threshold,
    )
    photographs, model = str(shipped("photos")), load(settings=settings)
    summary = run_batch(model, photographs, out, options, resume=True, progress=progress_for(quiet=True))
    page = out.absolute() / "index.html"
    named = (f"{one['class_name']} {one['score']:.2f} ({one['file']})" for one in summary.answers.surest)
    click.echo(f"{model.name} explained {summary.explained} photographs: {', '.join(named)}")
    click.echo(f"page: {page}")
    click.echo("next: camserve explain YOUR-PHOTOGRAPH.jpg")
    if summary.interrupted:
        sys.exit(INTERRUPTED)
    if not no_browser:
        open_page(page)


def _reason(summary: "Summary", out: Path) -> str:
    """Why a batch did not explain everything."""
    from camserve.catalogue.run_files import RESULTS
    from camserve.findings.results import read_rows

    done = summary.explained + summary.failed
    if summary.stopped or summary.interrupted:
        return summary.stopped or f"interrupted after {done} images; --resume continues"
    first = next(row["error"].rstrip(".") for row in read_rows(out) if row["status"] == "failed")
    return f"{summary.failed} of {done} images failed, the first with: {first}. All reasons are in {out / RESULTS}"


def only_output(asked: Asked) -> str | None:
    """The network output that a run explains. Raises OptionError if several were given."""
    if len(asked.outputs) > 1:
        raise OptionError(f"--model-output {', '.join(asked.outputs)}: a run explains one output; start a run for each")
    return next(iter(asked.outputs), None)


def _cluster(engine: str | None, address: str | None, actors: int | None) -> "Cluster | None":
    from camserve.batch.preflight import check_ray
    from camserve.batch.ray_cluster import Cluster

    if engine is not None:
        check_ray()
        return Cluster(address, actors)
    if address is not None or actors is not None:
        raise OptionError("--cluster-address and --actors need a cluster: add --engine-cluster ray")
    return None
