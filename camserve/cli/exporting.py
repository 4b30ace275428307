"""`camserve export`: a model for other runtimes."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from camserve.cli.prechecks import check_model
from camserve.cli.program import read_settings
from camserve.system.files import check_folder, check_target


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--layer", help="Where the maps come from. Default: the model's own layer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.pass_obj
def export(config: Path | None, /, model: str, file: Path, layer: str | None, as_json: bool) -> None:
    """Write MODEL as ONNX to FILE, with its class maps as a second output.

    The input is images (N, 3, H, W). The outputs are logits (N, C) and class_maps (N, C, h, w), or activations if the
    head has no class map. The command keeps the file only if onnxruntime gives the same answers as torch. Needs
    camserve[onnx].

    \b
    Example:
      camserve export efficientnet-lite0 lite0.onnx
    """
    settings = read_settings(config)
    check_model(model, settings)
    check_folder(file.parent)
    check_target(file)
    from camserve.model import load
    from camserve.models.onnx_export import export as write

    made = write(load(model, settings=settings), file, layer=layer)
    if as_json:
        click.echo(json.dumps({**asdict(made), "path": str(made.path)}))
        return
    sizes = ", ".join(f"{width} x {height}" for width, height in made.sizes)
    click.echo(f"written   {made.path}, {made.path.stat().st_size / 2**20:.1f} MiB")
    click.echo(f"outputs   {made.outputs[0]}, {made.outputs[1]} of layer {made.layer}")
    click.echo(f"input     {'any size' if made.any_size else sizes}, values as its metadata says (camserve.card)")
    click.echo(f"checked   in onnxruntime at {sizes}: within {made.difference:.1g} of torch's largest value")
