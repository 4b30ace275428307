"""`camserve explain`: images in, files out; and the options of all commands that explain."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from camserve.cli.program import NOTHING_USABLE, SOME_FAILED, read_settings
from camserve.errors import CamserveError
from camserve.methods import AUTO, METHODS, QUANTITIES

if TYPE_CHECKING:
    from camserve.models import Model

F = TypeVar("F", bound=Callable[..., Any])


def explaining(command: F, *, several: bool = False) -> F:
    """The options of every command that explains images. several: whether it takes more than one method and target."""
    also = " Can be repeated." if several else ""
    asked = f'Class index or name, "a-b", or "-a". Default: the predicted class.{also}'
    how = f"See `camserve methods`. Default: auto.{also}"
    options = (
        click.option("-m", "--model", help="Card name (see `camserve models`) or path of a card."),
        click.option("--method", type=click.Choice([AUTO, *METHODS]), multiple=several, help=how),
        click.option("-t", "--target", multiple=several, help=asked),
        click.option(
            "--quantity", type=click.Choice(QUANTITIES), default="logit", help="Of the class. Default: logit."
        ),
        click.option("--layer", help="Layer to look at, or several, as in a,b. Default: the model's own."),
        click.option("--output-stride", type=int, help="Dilate the network to a cell every so many input pixels."),
        click.option("--sharp/--no-sharp", default=None, help="One map of several sizes, mirrored too."),
        click.option("--size", help="fit, crop, native or a short side in pixels. Default: fit."),
        click.option("--colormap", help="Any name of the cmap catalogue. Default: inferno."),
        click.option("--alpha", type=float, help="Opacity of the hottest places, 0 to 1."),
        click.option("--contour", type=float, help="Outline heat of at least this share of the maximum."),
        click.option("--boxes", type=float, help="Box heat of at least this share of the maximum."),
        click.option("--legend", is_flag=True, help="Draw a colour bar with class and score."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def asking(command: F) -> F:
    """What may be asked about the places of one image."""
    options = (
        click.option("--at", multiple=True, metavar="X,Y", help="Say which classes this pixel votes for."),
        click.option("--region", multiple=True, metavar="L,T,R,B", help="Say how much of the logit these pixels give."),
        click.option("--polygons", is_flag=True, help="Outline the heat of boxes in the JSON, as GeoJSON does."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on standard output.")
@asking
@explaining
@click.pass_obj
def explain(config: Path | None, /, images: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Explain photographs, one folder of results each.

    Writes OUT/NAME/ with overlay.png, heatmap.png (8 bits), heatmap.npy (float32, 0 to 1), map.npy (raw) and
    manifest.json. A file that fails is reported, and the others are still explained.

    \b
    Example:
      camserve explain cat.jpg dog.jpg -o out
      camserve explain cat.jpg --target "tiger cat" --method layercam --contour 0.5
      camserve explain cat.jpg --at 210,120 --region 100,40,320,260
    """
    from camserve.questions import in_words, parse_questions

    questions = parse_questions(*(options.pop(name) for name in ("at", "region", "polygons")))
    model, how, look = _prepare(config, options)
    failed = 0
    for image, folder in zip(images, _folders(images, out), strict=True):
        try:
            explanation = model.explain(image, **how)
            facts = explanation.to_dict(questions=questions)
            explanation.save(folder, facts=facts, **look)
        except CamserveError as error:
            failed += 1
            _report_failure(image, error, as_json)
            continue
        if as_json:
            click.echo(json.dumps({"image": image, "folder": str(folder), **facts}))
        else:
            _say(image, f"{explanation.target.name} {explanation.score:.2f}", folder / "overlay.png")
            for line in (*in_words(facts), *(f"note: {warning}" for warning in explanation.warnings)):
                click.echo(f"  {line}")
    if failed:
        sys.exit(NOTHING_USABLE if failed == len(images) else SOME_FAILED)


def _prepare(config: Path | None, options: dict[str, Any]) -> "tuple[Model, dict[str, Any], dict[str, Any]]":
    """The model, the options of `Model.explain` and those of `Explanation.overlay`."""
    from camserve.loading import load

    settings = read_settings(
        config,
        explain={key: options[key] for key in ("method", "size", "sharp")},
        render={key: options[key] for key in ("colormap", "alpha")},
    )
    model = load(options["model"], settings=settings)
    look = {key: options[key] for key in ("contour", "boxes", "legend")}
    return model, {key: options[key] for key in ("target", "quantity", "layer", "output_stride")}, look


def _folders(images: tuple[str, ...], out: Path) -> list[Path]:
    """One result folder per image: its file name, numbered where two are called the same."""
    seen: dict[str, int] = {}
    folders = []
    for image in images:
        name = Path(image).name
        seen[name] = seen.get(name, 0) + 1
        folders.append(out / (name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return folders


def _say(image: str, what: str, where: Path) -> None:
    click.echo(f"{image}: {what} -> {where}")


def _report_failure(image: str, error: CamserveError, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"image": image, "error": str(error), "code": error.code}))
    click.echo(f"camserve: {error}", err=True)
