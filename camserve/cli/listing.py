"""`camserve models`, `layers`, `methods` and `metrics` list what is available."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.catalogue.method import Method
from camserve.catalogue.methods import METHODS, find_method
from camserve.catalogue.metric import Metric
from camserve.catalogue.metrics import METRICS, parse_metrics
from camserve.cli.prechecks import check_model
from camserve.cli.program import SOME_FAILED, read_settings
from camserve.errors import CamserveError

if TYPE_CHECKING:
    from camserve.config.schema import Settings


# Control characters, which a card could send to the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@click.option("--check", is_flag=True, help="Load each model and check the known answers of its card.")
@click.pass_obj
def models(config: Path | None, /, as_json: bool, check: bool) -> None:
    """List the models that can be used, shipped ones and your own.

    \b
    Example:
      camserve models
      camserve models --check
    """
    from camserve.models.card import find_cards, look_at

    settings = read_settings(config)
    cards = {name: look_at(path, settings.models) for name, path in find_cards(settings.models).items()}
    if check:
        _check_known([name for name, seen in cards.items() if seen.available or seen.error], settings, as_json)
        return
    rows = [
        {
            "name": name,
            "input_size": seen.card and seen.card.input.size,
            "licence": seen.card and seen.card.licence,
            "available": seen.available,
            "install": seen.card and seen.card.install,
            "source": seen.card and seen.card.source,
            "error": seen.error,
        }
        for name, seen in cards.items()
    ]
    _table(rows, as_json, columns=("name", "input_size", "licence", "available", "source"))
    for row in rows if not as_json else ():
        if row["error"]:
            click.echo(f"{_cell(row['name'])}: {_cell(row['error'])}")


def _check_known(names: list[str], settings: "Settings", as_json: bool) -> None:
    rows = [row for name in names for row in _known_answers(name, settings)]
    _table(rows, as_json, columns=("model", "image", "expected", "actual", "holds"))
    if any(row["holds"] is False for row in rows):
        sys.exit(SOME_FAILED)


def _known_answers(name: str, settings: "Settings") -> list[dict[str, Any]]:
    """A row for each known answer of a model. If the model cannot be loaded, one row with the reason."""
    from camserve.model import load
    from camserve.onboarding.known_answers import check_known_answers

    try:
        return [{"model": name, **vars(one)} for one in check_known_answers(load(name, settings=settings))]
    except CamserveError as error:
        return [{"model": name, "image": None, "expected": None, "actual": str(error), "holds": False}]


@click.command()
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def methods(names: tuple[str, ...], as_json: bool) -> None:
    """List the explanation methods, or describe some: formula, cost, when to use them, where they fail.

    \b
    Example:
      camserve methods
      camserve methods gradcam layercam
    """
    chosen = [find_method(name) for name in names]
    if chosen and not as_json:
        for method in chosen:
            click.echo("\n".join(_about(method)))
        return
    rows = [method.described() for method in chosen or METHODS.values()]
    _table(rows, as_json, columns=("name", "needs", "summary", "source"))


def _about(method: Method) -> Iterator[str]:
    facts = {"map": method.note.formula, "use": method.note.use, "fails": method.note.fails}
    yield f"{method.name}: {method.title}, {method.summary}"
    for word, text in {**facts, "needs": method.needs, "cost": method.cost, "source": method.source}.items():
        yield f"  {word:<7}{text}"


@click.command()
@click.argument("names", nargs=-1, metavar="[METRIC|GROUP]...")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def metrics(names: tuple[str, ...], as_json: bool) -> None:
    """List the metrics of explanations, or describe some: definition, unit, what a number can and cannot tell.

    A group is faithfulness, localisation, randomisation, robustness or complexity.

    \b
    Example:
      camserve metrics
      camserve metrics insertion,deletion
      camserve metrics localisation --json
    """
    chosen = [METRICS[name] for name in (parse_metrics(names) if names else METRICS)]
    if names and not as_json:
        for metric in chosen:
            click.echo("\n".join(_about_metric(metric)))
        return
    rows = [metric.described() for metric in chosen]
    _table(rows, as_json, columns=("name", "group", "better", "summary"))


def _about_metric(metric: Metric) -> Iterator[str]:
    low, high = ("no limit" if end is None else f"{end:g}" for end in metric.range)
    facts = {
        "is": metric.definition,
        "better": metric.better,
        "range": f"{low} to {high}, {metric.unit}",
        "tells": metric.tells,
        "not": metric.does_not_tell,
        "needs": metric.asks,
        "runs": metric.cost,
        "group": metric.group,
        "source": metric.source,
    }
    yield f"{metric.name}: {metric.title}, {metric.summary}"
    for word, text in facts.items():
        yield f"  {word:<7}{text}"


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@click.pass_obj
def layers(config: Path | None, /, model: str | None, as_json: bool) -> None:
    """List the layers of MODEL that can be explained, in the order of the network.

    MODEL is a card's name or path, or an architecture such as torchvision:resnet18. Without MODEL the command takes the
    default model. A layer's channels and grid are those at the size that the model was trained at.

    \b
    Example:
      camserve layers efficientnet-lite0
      camserve explain photos/cat.jpg --layer blocks.10,head --method layercam
    """
    settings = read_settings(config)
    check_model(model, settings)
    from camserve.model import load

    loaded = load(model, settings=settings)
    rows = [
        {
            "layer": name,
            "channels": shape[0],
            "grid": f"{shape[2]} x {shape[1]}",
            "default": name == loaded.default_layer,
        }
        for name, shape in loaded.layers().items()
    ]
    _table(rows, as_json, columns=("layer", "channels", "grid", "default"))


def _table(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column in ("name", "layer"))
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console(markup=False, highlight=False).print(table)  # names and words of cards may hold [brackets]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _CONTROL.sub(" ", str(value))
