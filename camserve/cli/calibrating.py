"""`camserve calibrate` measures where the cells of a layer sit in the picture."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camserve.cli.prechecks import check_model, missing
from camserve.cli.program import read_settings
from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.onboarding.calibration import Calibration


@click.command()
@click.argument("model")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A photograph, or a folder of photographs; can be repeated. Default: those of the card's known answers.",
)
@click.option("--dry-run", is_flag=True, help="Measure, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.pass_obj
def calibrate(config: Path | None, /, model: str, images: tuple[Path, ...], dry_run: bool, as_json: bool) -> None:
    """Measure where the cells of MODEL's layer sit, and write the result into its card.

    Pastes the middle of each photograph, turned eight ways, at known places on a plain background, and compares these
    places with the heat of its class. Needs a dozen photographs or more of what the model knows, one object in the
    middle of each; class names are not needed. docs/geometry.md says what the figures mean. The command writes only the
    section [placement] of the card; after that, camserve places every map of the model by it.

    \b
    Example:
      camserve calibrate efficientnet-lite0 --dry-run
      camserve calibrate my-models/finch --images finches
    """
    settings = read_settings(config)
    if check_model(model, settings) is None and not dry_run:
        raise OptionError(f"'{model}' has no card to write to: `camserve add` makes one; --dry-run only measures")
    for _, error in missing(images):
        raise error
    found = _files(images)
    from camserve.model import load
    from camserve.onboarding.calibration import calibrate as measure
    from camserve.onboarding.calibration import to_card
    from camserve.system.toml_sections import write_section

    loaded = load(model, settings=settings)
    with click.progressbar(found, label="measuring", file=sys.stderr) as files:
        made = measure(loaded, files if images else None)
    section = to_card(made, date.today())
    if loaded.home is not None and not dry_run:
        write_section(loaded.home, "placement", section.model_dump())
    written = None if dry_run else str(loaded.home)
    if as_json:
        click.echo(json.dumps({**asdict(made), "bias": made.bias, "error": made.error, "written": written}))
        return
    for what, words in {**_words(made), "written": written or "nothing (--dry-run)"}.items():
        click.echo(f"{what:12} {words}")


def _files(images: Iterable[Path]) -> list[Path]:
    from camserve.batch import find_images

    return [file for path in images for file in (find_images(path, path)[0] if path.is_dir() else [path])]


def _words(made: "Calibration") -> dict[str, str]:
    def pair(values: tuple[float, float], unit: str = "pixels") -> str:
        return f"{values[0]:.1f} across, {values[1]:.1f} down" + (f" {unit}" if unit else "")

    return {
        "layer": f"{made.layer}, a cell every {made.stride[0]:g} pixels",
        "photographs": f"{made.photographs} recognised, {made.unseen} not; {made.trials} trials",
        "offset": pair(made.offset),
        "error": pair(made.error) + f" (needed: {made.stride[0] / 16:g})",
        "spread": pair(made.spread) + " between photographs",
        "slope": f"{made.slope[0]:.2f} across, {made.slope[1]:.2f} down",
        "centred rule": pair(made.centred) + ", off by " + pair(made.bias),
    }
