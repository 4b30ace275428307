"""`camserve explain`: images in, files out."""

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camserve.catalogue.methods import METHODS, PATIENCE
from camserve.catalogue.questions import Questions
from camserve.catalogue.targets import Above
from camserve.cli.explaining_several import SheetOf
from camserve.cli.flags import Asked, asking, explaining
from camserve.cli.method_progress import Bar
from camserve.cli.prechecks import check_model, check_names, missing
from camserve.cli.program import NOTHING_USABLE, SOME_FAILED, Place
from camserve.cli.redrawing import Comparison
from camserve.cli.reporting import report, report_failure
from camserve.errors import CamserveError, OptionError, OutputError
from camserve.system.files import check_folder
from camserve.system.shortage import one_shortage
from camserve.system.timing import Timing

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions, OverlayOptions
    from camserve.catalogue.targets import TargetOption
    from camserve.explanation.explanation import Explanation
    from camserve.model import Model


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--out", type=Place(), default=Path("out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on standard output.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Explain the N best classes of each image.")
@click.option(
    "--above",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Explain every class with at least this score, for example of a multi-label model, and draw a sheet of all.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Explain why the network finds each image similar to this photograph. Its overlay is other-overlay.png.",
)
@click.option("--common-scale", is_flag=True, help="Draw all pictures of this run on one scale, to compare them.")
@click.option(
    "--limit",
    type=click.FloatRange(min=0),
    help="Seconds that each of several methods may take; 0 means no limit. Default: 60 with --method all.",
)
@click.option("--timings", is_flag=True, help="Print how long each step took.")
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
    above: float | None,
    like: Path | None,
    common_scale: bool,
    limit: float | None,
    timings: bool,
    questions: Questions,
    asked: Asked,
) -> None:
    """Explain photographs, one folder of results each.

    Writes OUT/NAME/ with overlay.png, heatmap.png (8 bits), heatmap.npy (float32, 0 to 1), map.npy (raw) and
    manifest.json; with --top, OUT/NAME/1-CLASS/ and so on. With several methods (a,b,c or all), several targets or
    several outputs of the network, each has such a folder in OUT/NAME/, and OUT/NAME/sheet.jpg shows all of them. With
    --like there are also other-overlay.png and so on for the second photograph. A method that would take longer than
    --limit does not start; the command names it with its estimated time. If a file fails, the command reports it and
    still explains the others.

    \b
    Example:
      camserve explain photos/cat.jpg photos/coffee.jpg -o out
      camserve explain photos/cat.jpg --target "tiger cat" --method layercam --contour 0.5
      camserve explain photos/cat.jpg --method all
      camserve explain photos/cat.jpg --target tabby --target "tiger cat" --target "tabby-tiger cat"
      camserve explain photos/cat.jpg --above 0.05
      camserve explain photos/cat.jpg --like photos/coffee.jpg
      camserve explain photos/cat.jpg --at 210,120 --region 100,40,320,260
      camserve explain photos/cat.jpg photos/coffee.jpg --top 3 --signed --legend --common-scale
    """
    _check_one(asked, top=top, above=above, like=like)
    sheet = _sheet_of(asked, limit, above)
    _check_together(asked, sheet, questions, top=top, common_scale=common_scale, timings=timings)
    settings = asked.settings(config)
    check_model(asked.model, settings)
    check_folder(out)
    for _, error in missing([like] if like else []):
        raise error
    absent = dict(missing(images))
    for image, error in absent.items():
        report_failure(image, error, as_json)
    if len(absent) == len(set(images)):
        sys.exit(NOTHING_USABLE)
    model = asked.load(settings, next(iter(asked.outputs), None))
    check_names(model, asked.targets if len(asked.outputs) < 2 else (), asked.how)
    comparison = Comparison(model, asked.look.signed) if common_scale else None
    how, target = replace(asked.how, method=_only(asked.methods)), like or _only(asked.targets)
    failed = set()
    for image, folder in zip(images, _folders(images, out), strict=True):
        if image in absent:
            failed.add(folder)
            continue
        try:
            with one_shortage(repr(image)):
                if sheet:
                    sheet.show(model, image, folder, target, how, asked.look, as_json)
                    continue
                timing = Timing()
                targets: int | list[TargetOption] = [target] if top is None else top
                for place, explanation in _explained(model, image, folder, targets, how, timing):
                    if comparison:
                        comparison.check(explanation)
                    with timing("write"):
                        facts = explanation.to_dict(questions=questions)
                        explanation.save(place, facts=facts, look=asked.look)
                    if comparison:
                        comparison.add(image, place, explanation)
                    report(image, place, explanation, facts, as_json, timing if timings else None)
        except OutputError:  # the results of the other images could not be written either
            raise
        except CamserveError as error:
            failed.add(folder)
            report_failure(image, error, as_json)
    if comparison and comparison.kept:
        _draw_again(comparison, asked.look, as_json)
    if failed:
        sys.exit(NOTHING_USABLE if len(failed) == len(images) else SOME_FAILED)


def _sheet_of(asked: Asked, limit: float | None, above: float | None) -> SheetOf | None:
    """What the options compare; None if they ask for one explanation. limit: seconds per method. above: a score."""
    methods, targets, outputs = asked.methods, asked.targets, asked.outputs
    several = {"methods": methods, "classes": targets, "outputs": outputs}
    together = [f"several {word}" for word, given in several.items() if len(given) > 1]
    together += [] if above is None else ["--above"]
    if limit is not None and math.isnan(limit):
        raise OptionError("--limit nan: allowed are seconds; 0 means no limit")
    if len(together) > 1:
        raise OptionError(f"one sheet cannot combine {' and '.join(together)}: give several of only one of them")
    if above is not None:
        return SheetOf(targets=Above(above))
    if len(outputs) > 1:
        return SheetOf(outputs=outputs)
    if len(methods) > 1:
        patience = PATIENCE if limit is None and len(methods) == len(METHODS) else limit
        return SheetOf(methods, limit=patience or None)
    return SheetOf(targets=list(targets)) if len(targets) > 1 else None


def _only(several: tuple[str, ...]) -> str | None:
    return several[0] if len(several) == 1 else None


def _folders(images: tuple[str, ...], out: Path) -> list[Path]:
    """One result folder per image: its file name, with a number if two images have the same name."""
    seen: dict[str, int] = {}
    folders = []
    for image in images:
        name = Path(image).name
        seen[name] = seen.get(name, 0) + 1
        folders.append(out / (name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return folders


def _check_one(asked: Asked, *, top: int | None, above: float | None, like: Path | None) -> None:
    """Raise OptionError if several options say which classes to explain."""
    check_classes(top, targets=bool(asked.targets))
    given = {"--top or --target": top is not None or bool(asked.targets), "--above": above is not None}
    several = [name for name, there in {**given, "--like": like is not None}.items() if there]
    if len(several) > 1:
        raise OptionError(f"{' and '.join(several)} both say what to explain: give one of them")


def check_classes(top: int | None, *, targets: bool) -> None:
    """Raise OptionError if both options say which classes to explain. targets: whether any were given."""
    if top is not None and targets:
        raise OptionError("--top and --target both say which classes to explain: give one of them")


def _check_together(
    asked: Asked,
    sheet: SheetOf | None,
    questions: Questions,
    *,
    top: int | None,
    common_scale: bool,
    timings: bool,
) -> None:
    if sheet and (top is not None or common_scale or timings or questions != Questions()):
        raise OptionError(
            "--top, --common-scale, --timings, --at, --region and --polygons work with one method, one target "
            "and one output: give one of each"
        )
    if common_scale and asked.look.scale is not None:
        raise OptionError("--common-scale and --scale both set the value of the last colour: give one of them")


def _explained(
    model: "Model", image: str, folder: Path, targets: "int | list[TargetOption]", how: "ExplainOptions", timing: Timing
) -> "Iterator[tuple[Path, Explanation]]":
    """Each explanation of one image, and the folder it goes into. targets: one, or how many of the best classes."""
    from camserve.explain.pipeline import explain, explain_classes, open_photo
    from camserve.explain.run import timed

    with timing("decode"):
        photo = open_photo(model, image)
    pool = model.workers
    if not isinstance(targets, int):
        with Bar() as bar:
            yield folder, explain(model, photo, targets[0], how, timed(pool, timing, bar))
        return
    for rank, explanation in enumerate(explain_classes(model, photo, targets, how, timed(pool, timing)), 1):
        name = re.sub(r"[^\w -]+", "_", explanation.class_name)[:60].strip()
        yield folder / f"{rank}-{name}", explanation


def _draw_again(comparison: Comparison, look: "OverlayOptions", as_json: bool) -> None:
    """Draw every picture on the common scale. Raises OutputError, or ImageError if a photograph is gone."""
    comparison.draw(look)
    if not as_json:
        unit = " logits" if comparison.in_logits else ""
        click.echo(f"all pictures: the last colour is {comparison.end:.4g}{unit}")
