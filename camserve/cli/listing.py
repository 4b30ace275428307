"""`camserve models`, `camserve layers` and `camserve methods`: what there is."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.catalogue.method import Method
from camserve.catalogue.methods import METHODS, find_method
from camserve.cli.prechecks import check_model
from camserve.cli.program import SOME_FAILED, read_settings

if TYPE_CHECKING:
    from camserve.config.schema import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@click.option("--check", is_flag=True, help="Load each and ask it the known answers of its card.")
@click.pass_obj
def models(config: Path | None, /, as_json: bool, check: bool) -> None:
    """List the models that can be used, shipped ones and your own.

    \b
    Example:
      camserve models
      camserve models --check
    """
    from camserve.models.card import find_cards, read_card

    settings = read_settings(config)
    cards = {name: (path, read_card(path)) for name, path in find_cards(settings.models).items()}
    if check:
        names = [name for name, (path, card) in cards.items() if card.available(path)]
        _check_known(names, settings, as_json)
        return
    rows = [
        {
            "name": name,
            "input_size": card.input.size,
            "licence": card.licence,
            "available": card.available(path),
            "install": card.install,
            "source": card.source,
        }
        for name, (path, card) in cards.items()
    ]
    _table(rows, as_json, columns=("name", "input_size", "licence", "available", "source"))


def _check_known(names: list[str], settings: "Settings", as_json: bool) -> None:
    from camserve.model import load
    from camserve.onboarding.known_answers import check_known_answers

    rows = [
        {"model": name, **vars(check)} for name in names for check in check_known_answers(load(name, settings=settings))
    ]
    _table(rows, as_json, columns=("model", "image", "expected", "actual", "holds"))
    if any(row["holds"] is False for row in rows):
        sys.exit(SOME_FAILED)


@click.command()
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def methods(names: tuple[str, ...], as_json: bool) -> None:
    """List the explanation methods, or say all about some: formula, cost, when to use it, what it fails.

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
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@click.pass_obj
def layers(config: Path | None, /, model: str | None, as_json: bool) -> None:
    """List the layers of MODEL that can be looked at, in the order of the network.

    MODEL is a card's name or path, or an architecture such as torchvision:resnet18; the default model where left out.
    A layer's channels and grid are those at the size the model was trained at.

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
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
