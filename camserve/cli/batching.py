"""`camserve batch`: a folder of any size in; files, results and a page out."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.cli.explaining import LOOK, check_classes, explaining, painting
from camserve.cli.program import INTERRUPTED, NOTHING_USABLE, SOME_FAILED, read_settings
from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.batch import Options
    from camserve.cluster import Cluster
    from camserve.model import Model


@click.command()
@click.argument("source", metavar="IN")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--folders-are-classes", is_flag=True, help="The folders below IN are called by the class they show.")
@click.option("--objects", type=click.Path(path_type=Path), help="Where the objects are: a .csv of boxes, or masks.")
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
    help="Of overlays.",
)
@click.option("--threshold", type=float, help="Masks and boxes hold heat of this share of the maximum. Default: 0.5.")
@click.option(
    "--export",
    "exports",
    multiple=True,
    type=click.Choice(["csv", "parquet", "coco"]),
    help="Also write the results as this. Can be repeated.",
)
@click.option("--engine-cluster", type=click.Choice(["ray"]), help="Run on a Ray cluster.")
@click.option("--cluster-address", help="With --engine-cluster: a running one. Default: one on this machine.")
@click.option("--actors", type=click.IntRange(min=1), help="With --engine-cluster. Default: as many as fit.")
@click.option("--resume", is_flag=True, help="Go on with a run that was killed or stopped.")
@click.option("--restart", is_flag=True, help="Throw an unfinished run in OUT away.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="A JSON summary on standard output, no progress.")
@explaining
@click.pass_obj
def batch(config: Path | None, /, source: str, out: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Explain every image of IN into OUT.

    IN is a folder or its URI, a pattern in quotes, a list of files (.txt), or a table (.csv) with the columns file and,
    if you like, class (what the image shows) and target (what to explain). Writes OUT/results.jsonl, one line an image,
    failed ones with the reason; pictures in a folder for each kind; and OUT/index.html, a page to look at. One bad file
    does not stop the rest. What a kill, Ctrl-C or a full disk has stopped goes on with --resume.

    \b
    Exit status: 0 all explained, 1 some failed, 3 nothing could be explained,
    4 OUT cannot be written, such as a full disk, 130 interrupted.
    \b
    Example:
      camserve batch photos out
      camserve batch "photos/**/*.jpg" out --method cam --method layercam --output mask --output boxes
      camserve batch photos out --resume
    """
    from camserve.batch import run_batch
    from camserve.batch.progress import progress_for

    passed = {key: options.pop(key) for key in ("folders_are_classes", "objects", "resume", "restart", "exports")}
    passed["cluster"] = _cluster(*(options.pop(key) for key in ("engine_cluster", "cluster_address", "actors")))
    model, made = _prepare(config, options)
    summary = run_batch(model, source, out, made, progress=progress_for(quiet=quiet or as_json), **passed)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    elif not quiet:
        click.echo(f"{summary.explained} explained, {summary.failed} failed -> {out / 'index.html'}")
    if summary.interrupted:
        sys.exit(INTERRUPTED)
    if summary.failed:
        sys.exit(SOME_FAILED if summary.explained else NOTHING_USABLE)


def _cluster(engine: str | None, address: str | None, actors: int | None) -> "Cluster | None":
    from camserve.cluster import Cluster

    if engine is not None:
        return Cluster(address, actors)
    if address is not None or actors is not None:
        raise OptionError("--cluster-address and --actors are about a cluster: add --engine-cluster ray")
    return None


def _prepare(config: Path | None, given: dict[str, Any]) -> "tuple[Model, Options]":
    from camserve.batch import Options
    from camserve.model import load

    settings = read_settings(
        config,
        explain={key: given[key] for key in ("size", "sharp")},
        render={**painting(given), "threshold": given["threshold"]},
    )
    check_classes(given["top"], targets=bool(given["target"]))
    options = Options(
        methods=given["method"] or (settings.explain.method,),
        targets=given["target"] if given["top"] is None else given["top"],
        outputs=() if given["outputs"] == ("none",) else given["outputs"] or ("overlay",),
        look={key: given[key] for key in LOOK},
        threshold=settings.render.threshold,
        **{key: given[key] for key in ("quantity", "layer", "output_stride", "image_format")},
    )
    return load(given["model"], settings=settings), options
