"""`camserve inspect` shows what a network is made of, what it costs, and which inputs it takes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camserve.cli.flags import download, downloading
from camserve.cli.prechecks import check_model
from camserve.cli.program import read_settings

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from camserve.models.inspection.layer_costs import InspectedLayer
    from camserve.models.inspection.summary import Inspection

# A row of the table: name, kind, the layer whose output it is, parameters, MACs.
Row = tuple[str, str, "InspectedLayer", int, int | None]

# From this terminal width, the table also has the column `start`, and bars.
_WIDE = 120
_BAR = 12


@click.command()
@click.argument("model", required=False)
@download()
@click.option("--all", "every", is_flag=True, help="Show every layer, not one row per block, and every saving.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every layer, instead of a table.")
@click.pass_obj
@downloading
def inspect(config: Path | None, /, model: str | None, every: bool, as_json: bool) -> None:
    """Show what MODEL is made of, what it costs and which images it takes.

    One row per block: what it is, its output, receptive field and stride in pixels of the input, parameters, and
    multiply-adds (MACs) for one image. Below: what depthwise separable convolutions save, the layer that is explained,
    the kind of head, and the input sizes that work (the command tries each size). MODEL is a card's name or path, or an
    architecture such as torchvision:resnet50. Without MODEL the command takes the default model.

    \b
    Example:
      camserve inspect efficientnet-lite0
      camserve inspect torchvision:resnet50 --all
    """
    settings = read_settings(config)
    check_model(model, settings)
    from camserve.model import load
    from camserve.models.inspection.summary import inspect_model

    inspection = inspect_model(load(model, settings=settings))
    if as_json:
        click.echo(json.dumps(inspection.to_dict(), indent=1))
    else:
        _show(inspection, every)


def _show(inspection: "Inspection", every: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from camserve.models.inspection.words import sentences

    console = Console(highlight=False, markup=False)  # a network's names and errors may hold [brackets]
    wide, (across, down) = console.width >= _WIDE, inspection.size
    trained = f"  {inspection.classes} classes, trained at {across} x {down} pixels\n"
    console.print(Text.assemble((inspection.model, "bold"), trained))
    console.print(_table(inspection, _rows(inspection, every), console.width), "")
    console.print(_notes({**_legend(inspection, wide), **sentences(inspection)}))
    if every and inspection.separable:
        console.print("", _savings(inspection))


def _rows(inspection: "Inspection", every: bool) -> list[Row]:
    if every:
        return [(layer.name, layer.kind, layer, layer.parameters, layer.macs) for layer in inspection.layers]
    return [
        (block.name, f"{block.times} × ({block.kind})" if block.times > 1 else block.kind, block.last,
         block.parameters, block.macs)
        for block in inspection.blocks()
    ]  # fmt: skip


def _table(inspection: "Inspection", rows: list[Row], width: int) -> "Table":
    from rich import box
    from rich.table import Table

    from camserve.models.inspection.words import by, short

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False, show_footer=True, footer_style="bold")
    wide, longest = width >= _WIDE, max(len(name) for name, *_ in rows)
    total = short(inspection.parameters), short(inspection.macs)
    table.add_column("layer", footer="total", overflow="fold", style="cyan", min_width=min(longest, width // 5))
    table.add_column("what it is", overflow="fold")
    table.add_column("output", justify="right", no_wrap=True)
    for name in ("field", "stride", "start")[: 3 if wide else 2]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("params", total[0], justify="right", no_wrap=True)
    table.add_column("MACs", total[1], justify="right", no_wrap=True)
    if wide:
        table.add_column("share of MACs", no_wrap=True, width=_BAR + 5)
    most = max((macs or 0 for *_, macs in rows), default=0) or 1
    for name, kind, layer, parameters, macs in rows:
        cells = [name, kind, by(layer.output), *_field(layer, wide), _figure(parameters), _figure(macs)]
        table.add_row(*cells, *([_share(macs or 0, inspection.macs, most)] if wide else []))
    return table


def _field(layer: "InspectedLayer", wide: bool) -> list[str]:
    """The receptive field of a cell, the stride in pixels, and the position of the first cell."""
    from camserve.models.inspection.words import one_or_two, reach

    if layer.field is None:
        cells = ["?" if layer.field_is_unknown else "", "", ""]
    else:
        cells = [reach(layer.field), one_or_two(layer.field.stride), one_or_two(layer.field.start)]
    return cells[: 3 if wide else 2]


def _figure(number: int | None) -> str:
    from camserve.models.inspection.words import short

    return "?" if number is None else short(number) if number else "·"


def _share(macs: int, total: int, most: int) -> "Text":
    """Percent of the total, and a bar against the largest row, in eighths of a character."""
    from rich.text import Text

    if not macs:
        return Text()
    eighths = round(macs / most * _BAR * 8)
    bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    percent = f"{macs / total:.0%}" if macs / total >= 0.005 else "<1%"
    return Text.assemble(f"{percent:>4} ", (bar, "cyan"))


def _legend(inspection: "Inspection", wide: bool) -> dict[str, str]:
    """Explanations of the columns."""
    said = (
        "output: channels x height x width. field: side of the receptive field in pixels of the input, padding "
        "included; all: the whole image. stride: pixels between cells."
    )
    unknown = [layer.why_no_field for layer in inspection.layers if layer.field_is_unknown]
    starts = " start: pixel at the centre of the first cell's field." if wide else ""
    return {"columns": said + starts + (f" ?: not known, {unknown[0]}." if unknown else "")}


def _notes(sentences: dict[str, str]) -> "Table":
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for word, sentence in sentences.items():
        grid.add_row(word, sentence, style="dim" if word == "columns" else None)
    return grid


def _savings(inspection: "Inspection") -> "Table":
    """A row for each depthwise separable convolution: its cost, and that of a standard convolution."""
    from rich import box
    from rich.table import Table

    from camserve.models.inspection.blocks import from_to
    from camserve.models.inspection.words import by, short

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("depthwise … 1x1 convolution", overflow="fold", style="cyan")
    for name in ("kernel", "channels", "MACs", "standard", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in inspection.separable:
        channels = f"{pair.inputs} to {pair.outputs}"
        costs = short(pair.macs), short(pair.standard_macs), f"{pair.ratio:.1%}"
        table.add_row(from_to(pair.depthwise, pair.pointwise), by(pair.kernel), channels, *costs)
    return table
