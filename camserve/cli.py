"""The command line: a thin skin over the Python API. `camserve COMMAND --help` says what each command does."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from camserve import __version__
from camserve.errors import CamserveError
from camserve.methods import AUTO, METHODS

if TYPE_CHECKING:
    from camserve.config import Settings
    from camserve.models import Model

SOME_FAILED, NOTHING_USABLE, INTERRUPTED = 1, 3, 130

F = TypeVar("F", bound=Callable[..., Any])


class _Program(click.Group):
    """Shows camserve's own errors as one line and ends with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CamserveError as error:
            click.echo(f"camserve: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camserve")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; see config.toml for all settings.")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Why did my classifier say that? Heatmaps over photographs, from image classifiers.

    \b
    camserve explain cat.jpg -o out       one photograph
    camserve batch photos out             a folder of them, with a page to look at
    camserve serve                        the HTTP service, with a page for uploads
    """
    ctx.obj = config


def explaining(command: F) -> F:
    """The options of every command that explains images."""
    options = (
        click.option("-m", "--model", help="Card name (see `camserve models`) or path of a card."),
        click.option(
            "--method", type=click.Choice([AUTO, *METHODS]), help="See `camserve methods`. Default: auto."
        ),
        click.option("-t", "--target", help="Class index or name. Default: the predicted class."),
        click.option("--layer", help="Layer to look at. Default: the model's own."),
        click.option("--size", help="fit, crop, native or a short side in pixels. Default: fit."),
        click.option("--colormap", help="Any name of the cmap catalogue. Default: inferno."),
        click.option("--alpha", type=float, help="Opacity of the hottest places, 0 to 1."),
        click.option("--contour", type=float, help="Outline heat of at least this share of the maximum."),
        click.option("--boxes", type=float, help="Box heat of at least this share of the maximum."),
        click.option("--legend", is_flag=True, help="Draw a colour bar with class and score."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on standard output.")
@explaining
@click.pass_obj
def explain(config: Path | None, /, images: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Explain photographs, one folder of results each.

    Writes OUT/NAME/ with overlay.png, heatmap.png (8 bits), heatmap.npy (float32, 0 to 1), map.npy (raw) and
    manifest.json. A file that fails is reported, and the others are still explained.

    \b
    Example:
      camserve explain cat.jpg dog.jpg -o out
      camserve explain cat.jpg --target "tiger cat" --method layercam --contour 0.5
    """
    model, how, look = _prepare(config, options)
    failed = 0
    for image, folder in zip(images, _folders(images, out), strict=True):
        try:
            explanation = model.explain(image, **how)
            explanation.save(folder, **look)
        except CamserveError as error:
            failed += 1
            _report_failure(image, error, as_json)
            continue
        if as_json:
            click.echo(json.dumps({"image": image, "folder": str(folder), **explanation.to_dict()}))
        else:
            _say(image, f"{explanation.class_name} {explanation.score:.2f}", folder / "overlay.png")
            for warning in explanation.warnings:
                click.echo(f"  note: {warning}")
    if failed:
        sys.exit(NOTHING_USABLE if failed == len(images) else SOME_FAILED)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format", "image_format", type=click.Choice(["jpeg", "png", "webp"]), default="jpeg", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="A JSON summary on standard output, no progress.")
@explaining
@click.pass_obj
def batch(
    config: Path | None, /, folder: Path, out: Path, image_format: str, as_json: bool, **options: Any
) -> None:
    """Explain every image below FOLDER into OUT.

    Writes OUT/overlays/, OUT/results.jsonl (one line per file, failed ones with the reason) and OUT/index.html,
    a page to look at. One bad file does not stop the rest.

    \b
    Exit status: 0 all explained, 1 some failed, 3 nothing could be explained, 130 interrupted.
    \b
    Example:
      camserve batch photos out
      camserve batch photos out --target "tiger cat" --format webp
    """
    from camserve.batch import run_batch

    model, how, look = _prepare(config, options)
    summary = run_batch(model, folder, out, image_format=image_format, how=how, look=look, progress=not as_json)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    else:
        click.echo(f"{summary.explained} explained, {summary.failed} failed -> {out / 'index.html'}")
    if summary.interrupted:
        sys.exit(INTERRUPTED)
    if summary.failed:
        sys.exit(SOME_FAILED if summary.explained else NOTHING_USABLE)


@main.command()
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
    from camserve.cards import find_cards, read_card

    settings = _settings(config)
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
    from camserve.known import check_known_answers
    from camserve.loading import load

    rows = [
        {"model": name, **vars(check)}
        for name in names
        for check in check_known_answers(load(name, settings=settings))
    ]
    _table(rows, as_json, columns=("model", "image", "expected", "actual", "holds"))
    if any(row["holds"] is False for row in rows):
        sys.exit(SOME_FAILED)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def methods(as_json: bool) -> None:
    """List the explanation methods.

    \b
    Example:
      camserve methods
    """
    rows = [{k: v for k, v in vars(method).items() if k != "function"} for method in METHODS.values()]
    _table(rows, as_json, columns=("name", "needs", "summary", "source"))


@main.command(short_help="Start the HTTP service, with a page for uploads.")
@click.option("--host", help="Address to listen on. Default: 127.0.0.1, this machine only.")
@click.option("--port", type=int, help="Default: 8080; 0 takes a free one.")
@click.pass_obj
def serve(config: Path | None, /, host: str | None, port: int | None) -> None:
    """Start the HTTP service: a page for uploads at /, and POST /api/v1/explain for programs.

    \b
    Example:
      camserve serve --port 8080
      curl --data-binary @cat.jpg -H "Content-Type: image/jpeg" localhost:8080/api/v1/explain -o why.png
    """
    from camserve.web.server import serve as run

    run(_settings(config, serve={"host": host, "port": port}))


def _settings(config: Path | None, **overrides: dict[str, Any]) -> "Settings":
    from camserve.config import load_settings

    return load_settings(config, overrides)


def _prepare(config: Path | None, options: dict[str, Any]) -> "tuple[Model, dict[str, Any], dict[str, Any]]":
    """The model, the options of `Model.explain` and those of `Explanation.overlay`."""
    from camserve.loading import load

    settings = _settings(
        config,
        explain={key: options[key] for key in ("method", "size")},
        render={key: options[key] for key in ("colormap", "alpha")},
    )
    model = load(options["model"], settings=settings)
    look = {key: options[key] for key in ("contour", "boxes", "legend")}
    return model, {key: options[key] for key in ("target", "layer")}, look


def _folders(images: tuple[str, ...], out: Path) -> list[Path]:
    """One result folder per image: its file name, numbered where two are called the same."""
    seen: dict[str, int] = {}
    folders = []
    for image in images:
        name = Path(image).name
        seen[name] = seen.get(name, 0) + 1
        folders.append(out / (name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return folders


def _say(image: str, what: str, where: Path) -> None:
    click.echo(f"{image}: {what} -> {where}")


def _report_failure(image: str, error: CamserveError, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"image": image, "error": str(error), "code": error.code}))
    click.echo(f"camserve: {error}", err=True)


def _table(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column == "name")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
