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
@click.option("--key", help="Which state dict of CHECKPOINT, where it holds several, as in ema.state_dict.")
@click.option("--labels", help='Text file with one class name a line, or "imagenet".')
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Labelled photographs, by which the input is found: a folder with a folder for each class, or a .csv table "
    "with the columns file and class.",
)
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
    the architecture, else 224 pixels and ImageNet's usual mean and std. With --photos, a few dozen photographs whose
    class is known, sizes, crops, means, channel orders and resamplings are tried, and the best are taken; what is given
    stays as it is.

    \b
    Example:
      camserve add finch.pth --architecture torchvision:resnet18 --labels birds.txt
      camserve add tiny.pth -a ./net.py:TinyNet --labels things.txt --size 64 --mean 0 0 0 --std 255 255 255
      camserve add tiny.pth -a ./net.py:TinyNet --labels things.txt --photos validation
    """
    from camserve.cli.method_progress import Bar
    from camserve.onboarding.new_model import add as make

    with Bar() as bar:
        bar.begin("trying")
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


def _table(trials: list[dict[str, Any]]) -> list[str]:
    """The preprocessings that did best, a line each."""
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
