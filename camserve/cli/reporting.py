"""What `camserve explain` says of each image."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.errors import CamserveError
from camserve.system.timing import Timing

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation


def report(
    image: str, folder: Path, explanation: "Explanation", facts: dict[str, Any], as_json: bool, timing: Timing | None
) -> None:
    """One explanation: a line with its answer, and lines with what else was asked or is worth knowing; or JSON.

    facts: what `Explanation.to_dict` gave. timing: how long the steps took, where that was asked.
    """
    from camserve.explanation.manifest import in_words

    took = timing.milliseconds() if timing else {}
    if as_json:
        more = {"timings": took} if took else {}
        click.echo(json.dumps({"image": image, "folder": str(folder), **facts, **more}))
        return
    doubt = "unsure: " if explanation.unsure else ""
    click.echo(f"{image}: {doubt}{explanation.in_short} -> {folder / 'overlay.png'}")
    for line in (*in_words(facts), *(f"note: {warning}" for warning in explanation.warnings)):
        click.echo(f"  {line}")
    if took:
        click.echo(f"  ms: {', '.join(f'{step} {ms:g}' for step, ms in took.items())}")


def report_failure(image: str, error: CamserveError, as_json: bool) -> None:
    """Why an image could not be explained, to standard error; with JSON also there."""
    if as_json:
        click.echo(json.dumps({"image": image, "error": str(error), "code": error.code}))
    click.echo(f"camserve: {error}", err=True)
