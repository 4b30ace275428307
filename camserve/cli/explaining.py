"""`camserve explain`: images in, files out; and the options of all commands that explain."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from camserve.cli.comparing import Comparison
from camserve.cli.program import NOTHING_USABLE, SOME_FAILED, read_settings
from camserve.cli.progress import Bar
from camserve.cli.reporting import report, report_failure
from camserve.cli.sheets import SheetOf
from camserve.comparing import parse_methods
from camserve.errors import CamserveError, OptionError
from camserve.methods import METHODS, QUANTITIES
from camserve.timing import Timing, timed

if TYPE_CHECKING:
    from camserve.explanation import Explanation
    from camserve.model import Model

F = TypeVar("F", bound=Callable[..., Any])

# The options of `explaining` that `Explanation.overlay` takes.
LOOK = ("contour", "boxes", "legend", "signed", "scale")
# With --method all: the seconds after which a method is given up; all but a few take less.
PATIENCE = 60.0


def _methods(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return parse_methods(given)


def explaining(command: F) -> F:
    """The options of every command that explains images."""
    asked = 'Class index or name, "a-b", or "-a". Default: the predicted class. Can be repeated.'
    how = "See `camserve methods`; all is every one. Default: auto. Can be repeated, or a,b,c."
    options = (
        click.option("-m", "--model", help="Card name (see `camserve models`) or path of a card."),
        click.option("--method", multiple=True, callback=_methods, metavar="NAME", help=how),
        click.option("-t", "--target", multiple=True, help=asked),
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
        click.option("--legend", is_flag=True, help="Draw a colour bar with class, score and numbers."),
        click.option("--signed", is_flag=True, help="Show what speaks against the class, too."),
        click.option(
            "--scale", type=float, help="Value of the last colour, in logits where the map is: for comparing."
        ),
    )
    return _with(options, command)


def painting(options: dict[str, Any]) -> dict[str, Any]:
    """What --colormap and --alpha set; signed pictures have a colour map of their own, which gives way as well."""
    return {"colormap": options["colormap"], "signed_colormap": options["colormap"], "alpha": options["alpha"]}


def asking(command: F) -> F:
    """What may be asked about the places of one image."""
    options = (
        click.option("--at", multiple=True, metavar="X,Y", help="Say which classes this pixel votes for."),
        click.option("--region", multiple=True, metavar="L,T,R,B", help="Say how much of the logit these pixels give."),
        click.option("--polygons", is_flag=True, help="Outline the heat of boxes in the JSON, as GeoJSON does."),
    )
    return _with(options, command)


def _with(options: Sequence[Callable[[F], F]], command: F) -> F:
    """`command` with these options, in this order in its help."""
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on standard output.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Explain the N best classes of each image.")
@click.option("--common-scale", is_flag=True, help="Draw all pictures of this run on one scale, to compare them.")
@click.option("--limit", type=float, help="Seconds for each of several methods, 0 for no end. Default: 60 with all.")
@click.option("--timings", is_flag=True, help="Say how long each step took.")
@asking
@explaining
@click.pass_obj
def explain(
    config: Path | None,
    /,
    images: tuple[str, ...],
    out: Path,
    as_json: bool,
    top: int | None,
    common_scale: bool,
    timings: bool,
    **options: Any,
) -> None:
    """Explain photographs, one folder of results each.

    Writes OUT/NAME/ with overlay.png, heatmap.png (8 bits), heatmap.npy (float32, 0 to 1), map.npy (raw) and
    manifest.json; with --top, OUT/NAME/1-CLASS/ and so on. With several methods (a,b,c or all) or several targets each
    has such a folder in OUT/NAME/, and OUT/NAME/sheet.jpg shows all of them. A file that fails is reported, and the
    others are still explained.

    \b
    Example:
      camserve explain cat.jpg dog.jpg -o out
      camserve explain cat.jpg --target "tiger cat" --method layercam --contour 0.5
      camserve explain cat.jpg --method all
      camserve explain cat.jpg --target tabby --target "tiger cat" --target "tabby-tiger cat"
      camserve explain cat.jpg --at 210,120 --region 100,40,320,260
      camserve explain cat.jpg dog.jpg --top 3 --signed --legend --common-scale
    """
    from camserve.questions import parse_questions

    sheet = _sheet_of(options)
    _check_together(options, sheet, top=top, common_scale=common_scale, timings=timings)
    questions = parse_questions(*(options.pop(name) for name in ("at", "region", "polygons")))
    comparison = Comparison(options["signed"]) if common_scale else None
    model, how, look = _prepare(config, options)
    failed = set()
    for image, folder in zip(images, _folders(images, out), strict=True):
        try:
            if sheet:
                sheet.show(model, image, folder, how, look, as_json)
                continue
            timing = Timing()
            for place, explanation in _explained(model, image, folder, top, how, timing):
                if comparison:
                    comparison.check(explanation)
                with timing("write"):
                    facts = explanation.to_dict(questions=questions)
                    explanation.save(place, facts=facts, **look)
                if comparison:
                    comparison.add(image, place, explanation)
                report(image, place, explanation, facts, as_json, timing if timings else None)
        except CamserveError as error:
            failed.add(folder)
            report_failure(image, error, as_json)
    if comparison and comparison.kept:
        _draw_again(comparison, look, as_json)
    if failed:
        sys.exit(NOTHING_USABLE if len(failed) == len(images) else SOME_FAILED)


def _sheet_of(options: dict[str, Any]) -> SheetOf | None:
    """What the options compare; None where they ask for one explanation, whose method and target they then hold."""
    limit, methods, targets = (options.pop(key) for key in ("limit", "method", "target"))
    if len(methods) > 1 and len(targets) > 1:
        raise OptionError("several methods and several classes at once make no sheet: give one method, or one class")
    options["target"] = targets[0] if len(targets) == 1 else None
    options["method"] = methods[0] if len(methods) == 1 else None
    if len(methods) > 1:
        patience = PATIENCE if limit is None and len(methods) == len(METHODS) else limit
        return SheetOf(methods, limit=patience or None)
    return SheetOf(targets=list(targets)) if len(targets) > 1 else None


def _prepare(config: Path | None, options: dict[str, Any]) -> "tuple[Model, dict[str, Any], dict[str, Any]]":
    """The model, the options of `Model.explain` and those of `Explanation.overlay`."""
    from camserve.model import load

    settings = read_settings(
        config,
        explain={key: options[key] for key in ("method", "size", "sharp")},
        render=painting(options),
    )
    model = load(options["model"], settings=settings)
    look = {key: options[key] for key in LOOK}
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


def check_classes(top: int | None, *, targets: bool) -> None:
    """Raises OptionError where both options say which classes to explain. targets: whether any were given."""
    if top is not None and targets:
        raise OptionError("--top and --target both say which classes to explain: give one of them")


def _check_together(
    options: dict[str, Any], sheet: SheetOf | None, *, top: int | None, common_scale: bool, timings: bool
) -> None:
    of_one = top is not None or common_scale or timings or options["at"] or options["region"] or options["polygons"]
    if sheet and of_one:
        raise OptionError(
            "--top, --common-scale, --timings, --at, --region and --polygons are about one method and one target: give "
            "one of each"
        )
    check_classes(top, targets=options["target"] is not None)
    if common_scale and options["scale"] is not None:
        raise OptionError("--common-scale and --scale both say what the last colour is: give one of them")


def _explained(
    model: "Model", image: str, folder: Path, top: int | None, how: dict[str, Any], timing: Timing
) -> "Iterator[tuple[Path, Explanation]]":
    """Each explanation of one image, and the folder it goes into."""
    from camserve import workers
    from camserve.explain import explain, explain_classes, open_photo

    with timing("decode"):
        photo = open_photo(model, image)
    compute = model.settings.compute
    how = how | timed(workers.shared(compute.workers, compute.threads), timing)
    if top is None:
        with Bar() as bar:
            yield folder, explain(model, photo, progress=bar, **how)
        return
    how = {name: value for name, value in how.items() if name != "target"}
    for rank, explanation in enumerate(explain_classes(model, photo, top, **how), 1):
        name = re.sub(r"[^\w -]+", "_", explanation.class_name)[:60].strip()
        yield folder / f"{rank}-{name}", explanation


def _draw_again(comparison: Comparison, look: dict[str, Any], as_json: bool) -> None:
    """Every picture on the common scale. Raises OutputError, or ImageError where a photograph is gone."""
    comparison.draw(look)
    if not as_json:
        unit = " logits" if comparison.in_logits else ""
        click.echo(f"all pictures: colours end at {comparison.end:.4g}{unit}")
