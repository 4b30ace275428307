"""`camserve sanity` checks whether explanations of a model can be trusted."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camserve.catalogue.methods import parse_methods
from camserve.cli.flags import download, downloading
from camserve.cli.prechecks import check_model, missing
from camserve.cli.program import SOME_FAILED, Place, read_settings

if TYPE_CHECKING:
    from camserve.evaluation.check import Check
    from camserve.evaluation.checklist import Sanity


@click.command()
@click.argument("model", required=False)
@download()
@click.option(
    "--image",
    "images",
    type=Place(),
    multiple=True,
    help="A photograph of what the model knows; can be repeated, three or more are best. Default: those of the card's "
    "known answers, or else generated pictures of coloured fields and noise.",
)
@click.option("--method", metavar="NAME", help="Method whose maps are checked. Default: auto.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all numbers, instead of lines.")
@click.pass_obj
@downloading
def sanity(
    config: Path | None, /, model: str | None, images: tuple[Path, ...], method: str | None, as_json: bool
) -> None:
    """Check whether explanations of MODEL can be trusted.

    Runs twelve checks and prints a line for each: ok, FAILED or cannot tell; the number that counts and its limit; what
    the result means. Some of the questions: Does the map add up to the logit? Does plain autograd on the uncut network
    give the same? Does the engine answer as torch does? Is heat drawn where it belongs? Does the map change with the
    class and with random weights? docs/sanity.md says what each check can and cannot tell. MODEL is as for `camserve
    inspect`.

    \b
    Exit status: 0 no check failed, 1 a check failed.
    \b
    Example:
      camserve sanity efficientnet-lite0
      camserve sanity torchvision:resnet18 --image photos/cat.jpg --image photos/coffee.jpg
      camserve sanity efficientnet-lite0 --method guidedbackprop --json
    """
    settings = read_settings(config)
    parse_methods([method] if method else [])
    check_model(model, settings)
    for _, error in missing(images):
        raise error
    from camserve.evaluation.bench import bench_of
    from camserve.evaluation.checklist import report, run_checks
    from camserve.model import load

    bench = bench_of(load(model, settings=settings), images or None, method)
    checks: list[Check] = []
    for check in run_checks(bench):
        checks.append(check)
        if not as_json:
            click.echo(_line(check))
    found = report(bench, checks)
    click.echo(json.dumps(found.to_dict()) if as_json else _last(found))
    if not found.passed:
        sys.exit(SOME_FAILED)


def _line(check: "Check") -> str:
    return f"{check.mark:11}  {check.name:12}  {check.measured:37}  {check.sentence}".rstrip()


def _last(found: "Sanity") -> str:
    """The last line: model, method, pictures, and how many checks failed."""
    pictures = f"{found.pictures} {'photographs' if found.are_photographs else 'generated pictures'}"
    failed = [check.name for check in found.checks if check.passed is False]
    ended = f"{len(failed)} failed: {', '.join(failed)}" if failed else "no check failed"
    return f"{found.model}, method {found.method}, {pictures}: {ended}"
