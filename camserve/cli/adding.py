"""`camserve add`: a model of the user's own."""

import json
from pathlib import Path
from typing import Any

import click

from camserve.cli.lists import NUMBERS, Listing, read_arguments
from camserve.cli.program import read_settings


@click.command(cls=Listing)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-a",
    "--architecture",
    required=True,
    help="torchvision:NAME, timm:NAME, package.module:factory or ./net.py:factory.",
)
@click.option("--key", help="Which state dict of CHECKPOINT, where it holds several, as in ema.state_dict.")
@click.option("--labels", help='Text file with one class name a line, or "imagenet".')
@click.option("--name", help="Default: the checkpoint's, without its ending.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Default: the first of models.folders, ~/.camserve/models."
)
@click.option("--size", type=NUMBERS, help="Side of the square input, in pixels, or its height and width.")
@click.option("--crop", type=float, help="Share of the short side that the evaluation crop covers.")
@click.option("--mean", type=NUMBERS, help="Per channel, in units of 0..255; of bands in those of the file.")
@click.option("--std", type=NUMBERS, help="Per channel, as --mean.")
@click.option(
    "--channels", type=click.Choice(["RGB", "BGR", "L"]), help="Their order, or L for grey. Default: RGB; L where one."
)
@click.option("--bands", type=NUMBERS, help="Instead of colours: samples of a picture, counted from 0.")
@click.option("--shown", type=NUMBERS, help="Of bands: those that are drawn, one or three. Default: the first three.")
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    callback=read_arguments,
    help="What forward takes besides images, the same for every picture; VALUE as in TOML. Repeatable.",
)
@click.option("--resample", type=click.Choice(["bilinear", "bicubic", "lanczos"]), help="How pixels are interpolated.")
@click.option(
    "--scores", type=click.Choice(["softmax", "sigmoid"]), help="sigmoid for multi-label heads. Default: softmax."
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
      camserve add scenes.pth -a ./net.py:Scenes --bands 3 2 1 7 --mean 1500 --std 800 --size 256 128
    """
    from camserve.onboarding.new_model import add as make

    added = make(checkpoint, architecture, settings=read_settings(config), **options)
    if as_json:
        click.echo(json.dumps({"card": str(added.card), "model": added.reference, **added.facts}))
        return
    for what, words in {**added.facts, "written": added.card}.items():
        click.echo(f"{what:8} {words}")
    click.echo(f"Next: camserve explain photo.jpg --model {added.reference}")
