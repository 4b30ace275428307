"""What `camserve explain` prints for each image."""

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
    """Print one explanation: a line with the answer, then answers to other questions and notes; or JSON.

    facts: what `Explanation.to_dict` returned. timing: how long the steps took; None if nobody asked.
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
    """Print to standard error why an image could not be explained; with --json, also print it as JSON."""
    if as_json:
        click.echo(json.dumps({"image": image, "error": str(error), "code": error.code}))
    click.echo(f"camserve: {error}", err=True)
