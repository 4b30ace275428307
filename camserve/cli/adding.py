"""`camserve add` adds a model of the user."""

import json
from pathlib import Path
from typing import Any

import click

from camserve.catalogue.class_sentences import ZERO_SHOT
from camserve.cli.flags import download
from camserve.cli.lists import NUMBERS, Listing, read_arguments
from camserve.cli.program import read_settings
from camserve.errors import OptionError
from camserve.models.architectures.hub_cache import fetch


@click.command(cls=Listing)
@click.argument("checkpoint")
@click.option(
    "-a",
    "--architecture",
    help="torchvision:NAME, timm:NAME, package.module:factory or ./net.py:factory. Not needed for hf:FOLDER, "
    "clip:FOLDER and model files.",
)
@download()
@click.option("--key", help="Which state dict of CHECKPOINT, if it holds several, as in ema.state_dict.")
@click.option(
    "--template",
    "templates",
    multiple=True,
    help="For clip:FOLDER: a prompt with {} for the sentence. Can be repeated.",
)
@click.option("--labels", help='Text file with one class name a line, or "imagenet".')
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Labelled photographs, used to find the input: a folder with a folder for each class, or a .csv table with "
    "the columns file and class.",
)
@click.option("--name", help="Name of the model. Default: the name of the checkpoint, without its ending.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where the card is written. Default: the first of models.folders, ~/.camserve/models.",
)
@click.option("--size", type=NUMBERS, help="Side of the square input, in pixels, or its height and width.")
@click.option("--crop", type=float, help="Share of the short side that the evaluation crop covers.")
@click.option("--mean", type=NUMBERS, help="For each channel, in units of 0..255; for bands in the units of the file.")
@click.option("--std", type=NUMBERS, help="For each channel, as --mean.")
@click.option(
    "--channels",
    type=click.Choice(["RGB", "BGR", "L"]),
    help="Order of the channels, or L for grey. Default: RGB; L if there is one channel.",
)
@click.option("--bands", type=NUMBERS, help="Samples of a picture in place of colours, counted from 0.")
@click.option(
    "--shown", type=NUMBERS, help="With --bands: the samples that are drawn, one or three. Default: the first three."
)
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    callback=read_arguments,
    help="An argument of forward besides the images, the same for every picture; VALUE as in TOML. Can be repeated.",
)
@click.option("--resample", type=click.Choice(["bilinear", "bicubic", "lanczos"]), help="How pixels are interpolated.")
@click.option(
    "--scores",
    type=click.Choice(["softmax", "sigmoid", "none", "embedding"]),
    help="sigmoid for multi-label heads, none for numbers, as in regression. Default: softmax.",
)
@click.option("--output", help="Which output is explained, if the network has several: a name or an index.")
@click.option("--layer", help="Layer that is explained. Default: found automatically.")
@click.option("--force", is_flag=True, help="Replace a model of that name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.pass_obj
def add(
    config: Path | None, /, checkpoint: str, architecture: str | None, download: bool, as_json: bool, **options: Any
) -> None:
    """Add a model of your own: CHECKPOINT with its architecture, labels and input.

    CHECKPOINT is a file of weights; DEFAULT for the published weights in the local cache of torchvision or timm; or
    hf:FOLDER, hf:OWNER/NAME or timm:hf-hub:OWNER/NAME, which states its architecture, labels and input itself; or a
    model file such as net.onnx, net.xml or net.tflite, which contains its network.

    Reads the weights, finds the number of classes, loads the model and explains one picture. If all of this works, the
    command writes FOLDER/NAME/ with card.toml and copies of the weights and the labels. If the architecture is a class
    or function in a file, the command runs that file and copies it, too. Instead of CHECKPOINT, clip:FOLDER
    adds a model that compares images with sentences; its labels are sentences. If you do not describe the input, it is
    what torchvision or timm state for the architecture, or else 224 pixels and ImageNet's usual mean and std. With
    --photos, a few dozen photographs whose class is known, the command tries sizes, crops, means, channel orders and
    resamplings, and takes the best; it does not change what you give.

    \b
    Example:
      camserve add finch.pth --architecture torchvision:resnet18 --labels birds.txt
      camserve add tiny.pth -a ./net.py:TinyNet --labels things.txt --size 64 --mean 0 0 0 --std 255 255 255
      camserve add scenes.pth -a ./net.py:Scenes --bands 3 2 1 7 --mean 1500 --std 800 --size 256 128
      camserve add tiny.pth -a ./net.py:TinyNet --labels things.txt --photos validation
      camserve add hf:./finch-vit
      camserve add net.onnx --labels birds.txt
      camserve add clip:./clip-vit-base-patch32 --labels sentences.txt --template "a photo of {}"
    """
    from camserve.cli.method_progress import Bar
    from camserve.onboarding.new_model import add as make
    from camserve.onboarding.new_words import add_words

    if download:
        fetch(checkpoint)
    with Bar() as bar:
        bar.begin("trying")
        if is_zero_shot(checkpoint, architecture):
            added = add_words(checkpoint, settings=read_settings(config), **_of_words(options))
        else:
            options.pop("templates")
            added = make(checkpoint, architecture, settings=read_settings(config), progress=bar, **options)
    trials = added.found.table() if added.found else []
    if as_json:
        tried = {"trials": trials} if trials else {}
        click.echo(json.dumps({"card": str(added.card), "model": added.reference, **added.facts, **tried}))
        return
    for what, words in {**added.facts, "written": added.card}.items():
        click.echo(f"{what:8} {words}")
    for line in _table(trials):
        click.echo(line)
    click.echo(f"Next: camserve explain photo.jpg --model {added.reference}")


def is_zero_shot(checkpoint: str, architecture: str | None) -> bool:
    """Whether CHECKPOINT is a model of images and sentences. Raises OptionError if --architecture is given, too."""
    named = checkpoint.startswith(ZERO_SHOT)
    if named and architecture is not None:
        raise OptionError(f"'{checkpoint}' contains its architecture: leave out --architecture")
    return named


def _of_words(options: dict[str, Any]) -> dict[str, Any]:
    """The options for a model of sentences. Raises OptionError if other options were given."""
    taken = {name: options.pop(name) for name in ("labels", "templates", "name", "folder", "layer", "force")}
    if given := [name for name, value in options.items() if value]:
        raise OptionError(f"--{given[0]}: {ZERO_SHOT}FOLDER already defines this; leave it out")
    return taken


def _table(trials: list[dict[str, Any]]) -> list[str]:
    """One line for each of the best preprocessings."""
    if not trials:
        return []
    lines = [f"tried    {'right':>8} {'log-lik.':>8} {'size':>4} {'crop':>5}     {'resample':8} mean / std"]
    for one in trials:
        right = f"{one['right']}/{one['photographs']}"
        scale = " / ".join(" ".join(f"{value:g}" for value in one[name]) for name in ("mean", "std"))
        lines.append(
            f"         {right:>8} {one['log_likelihood']:8.3f} {one['size']:4} {one['crop']:5.3g} {one['channels']} "
            f"{one['resample']:8} {scale}"
        )
    return lines
