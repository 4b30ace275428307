"""`camserve compare` compares one run with another, for example as a check before a release."""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.catalogue.methods import parse_methods
from camserve.cli.flags import line
from camserve.cli.prechecks import check_model
from camserve.cli.program import NOTHING_USABLE, SOME_FAILED, Place, read_settings
from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.findings.run_comparison import Check, Difference


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--images", metavar="IN", help="A and B are models: explain these images with both, into OUT.")
@click.option("--folders-are-classes", is_flag=True, help="With --images: the folders below IN are classes.")
@click.option("--method", metavar="NAME", help=f"With --images. {line('method')}")
@click.option("--restart", is_flag=True, help="Overwrite what OUT holds; with --images, run both models again, too.")
@click.option("-o", "--out", type=Place(), default=Path("compared"), show_default=True)
@click.option("--changed", type=float, help="Largest allowed share of changed decisions. Default: 0.05.")
@click.option("--overlap", type=float, help="Smallest allowed mean overlap of hot regions. Default: 0.5.")
@click.option("--correlation", type=float, help="Smallest allowed mean correlation of the cells' ranks. Default: 0.6.")
@click.option("--shift", type=float, help="Largest allowed mean shift of the heat, in diagonals. Default: 0.1.")
@click.option("--accuracy", type=float, help="Largest allowed loss of accuracy, if classes are known. Default: 0.01.")
@click.option("--failed", type=float, help="Largest allowed share of images that fail only in B. Default: 0.")
@click.option("--shortcuts", type=int, help="Allowed number of new shortcuts that covering confirms. Default: 0.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.pass_obj
def compare(config: Path | None, /, a: str, b: str, out: Path, as_json: bool, restart: bool, **options: Any) -> None:
    """Compare run B with run A: decisions that changed, maps that moved, new shortcuts.

    A and B are folders of `camserve batch` over the same images. With --images they are two models: the command runs
    both, in OUT/a and OUT/b, and resumes an unfinished run there. Writes OUT/index.html, with the images that changed
    most side by side, and OUT/comparison.json. You can move OUT alone. A comparison of other runs is never overwritten
    without --restart.

    \b
    Exit status: 0 all limits hold, 1 a limit does not hold.
    \b
    Example:
      camserve compare run-of-march run-of-april
      camserve compare efficientnet-lite0 efficientnet-lite1 --images photos --changed 0.2
    """
    from camserve.findings.comparison_page import check_place, write_comparison
    from camserve.findings.run_comparison import Limits, checks, compare_runs
    from camserve.system.files import check_folder

    given = {one.name: options.pop(one.name) for one in fields(Limits)}
    limits = Limits(**{key: value for key, value in given.items() if value is not None})
    check_folder(out)
    places = (out / "a", out / "b") if options["images"] is not None else (Path(a), Path(b))
    check_place(out, *places, restart=restart)
    runs = _runs(config, (a, b), out, quiet=as_json, restart=restart, **options)
    difference = compare_runs(*runs)
    found = checks(difference, limits)
    facts = write_comparison(out, *runs, difference, found)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        for name, folder, origin in zip("AB", runs, (difference.a, difference.b), strict=True):
            click.echo(f"{name}: {folder}: {origin or 'does not record how it was made'}")
        for name, undone in zip("AB", (difference.undone_a, difference.undone_b), strict=True):
            if undone:
                click.echo(f"{name} is unfinished: {undone} images were not explained yet, and are not compared")
        if difference.other_classes:
            click.echo(difference.other_classes)
        if not difference.compared:
            click.echo("no maps were compared: the runs have no maps of the same class by the same method")
        _say(found, difference, out)
    if not all(check.passed for check in found):
        sys.exit(SOME_FAILED)


def _runs(
    config: Path | None, given: tuple[str, str], out: Path, *, images: str | None, folders_are_classes: bool,
    method: str | None, restart: bool, quiet: bool,
) -> tuple[Path, Path]:  # fmt: skip
    """The folders of both runs. If models were given, the runs are made first."""
    if images is None:
        if method or folders_are_classes:
            raise OptionError("--method and --folders-are-classes are for comparing models: give --images too")
        return Path(given[0]), Path(given[1])
    from camserve.batch.preflight import check_run
    from camserve.batch.progress import progress_for

    settings, folders = read_settings(config), (out / "a", out / "b")
    parse_methods([method] if method else [])
    for name, folder in zip(given, folders, strict=True):
        check_model(name, settings)
        check_run(images, folder, folders_are_classes=folders_are_classes, resume=True, restart=restart)
    from camserve.batch import Options, run_batch
    from camserve.model import load

    for name, folder in zip(given, folders, strict=True):
        model = load(name, settings=settings)
        options = Options(methods=(method or settings.explain.method,))
        how: dict[str, Any] = {"folders_are_classes": folders_are_classes, "progress": progress_for(quiet=quiet)}
        summary = run_batch(model, images, folder, options, resume=True, restart=restart, **how)
        if summary.interrupted:
            raise click.Abort
        if summary.stopped:
            click.echo(f"camserve: {name}: {summary.stopped}", err=True)
            sys.exit(NOTHING_USABLE)
    return folders


def _say(found: "list[Check]", difference: "Difference", out: Path) -> None:
    for check in found:
        click.echo(f"{'passed' if check.passed else 'NOT PASSED':10}  {check.name}: {check.found}, {check.limit}")
    for words in difference.shortcuts:
        click.echo(f"            shortcut: {words}")
    for words in difference.suspected:
        click.echo(f"            suspected, not confirmed: {words}")
    for words in difference.untold:
        click.echo(f"            B: {words}")
    click.echo(f"-> {out / 'index.html'}")
