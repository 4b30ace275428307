"""`camserve add`: a model of the user's own."""

import json
from pathlib import Path
from typing import Any

import click

from camserve.cli.program import read_settings


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-a",
    "--architecture",
    required=True,
    help="torchvision:NAME, timm:NAME, package.module:factory or ./net.py:factory.",
)
@click.option("--labels", help='Text file with one class name a line, or "imagenet".')
@click.option("--name", help="Default: the checkpoint's, without its ending.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Default: the first of models.folders, ~/.camserve/models."
)
@click.option("--size", type=int, help="Side of the square input, in pixels.")
@click.option("--crop", type=float, help="Share of the short side that the evaluation crop covers.")
@click.option("--mean", type=float, nargs=3, help="Per channel, in units of 0..255.")
@click.option("--std", type=float, nargs=3, help="Per channel, in units of 0..255.")
@click.option("--channels", type=click.Choice(["RGB", "BGR"]), help="Their order. Default: RGB.")
@click.option("--resample", type=click.Choice(["bilinear", "bicubic", "lanczos"]), help="How pixels are interpolated.")
@click.option(
    "--scores",
    type=click.Choice(["softmax", "sigmoid", "none"]),
    help="sigmoid for multi-label heads, none for numbers, as of regression. Default: softmax.",
)
@click.option("--layer", help="Layer to look at. Default: found by itself.")
@click.option("--force", is_flag=True, help="Replace a model of that name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.pass_obj
def add(config: Path | None, /, checkpoint: Path, architecture: str, as_json: bool, **options: Any) -> None:
    """Add a model of your own: CHECKPOINT with its architecture, labels and input.

    Reads the weights, finds the number of classes, loads the model and explains one picture. Where all that works,
    writes FOLDER/NAME/ with card.toml and copies of the weights, the labels and, if the architecture is a class or
    function in a file, of that file, which is run. The input is, where not given, what torchvision or timm state for
    the architecture, else 224 pixels and ImageNet's usual mean and std.

    \b
    Example:
      camserve add finch.pth --architecture torchvision:resnet18 --labels birds.txt
      camserve add tiny.pth -a ./net.py:TinyNet --labels things.txt --size 64 --mean 0 0 0 --std 255 255 255
    """
    from camserve.onboarding.new_model import add as make

    added = make(checkpoint, architecture, settings=read_settings(config), **options)
    if as_json:
        click.echo(json.dumps({"card": str(added.card), "model": added.reference, **added.facts}))
        return
    for what, words in {**added.facts, "written": added.card}.items():
        click.echo(f"{what:8} {words}")
    click.echo(f"Next: camserve explain photo.jpg --model {added.reference}")
