"""`camserve serve`: the HTTP service; `camserve mcp`: tools for language models."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camserve.cli.program import SOME_FAILED, Place, read_settings

if TYPE_CHECKING:
    from camserve.config.schema import Settings
    from camserve.web.self_check import Trial


@click.command(short_help="Start the HTTP service, with a page for uploads.")
@click.option("-m", "--model", help="Model for requests that name no model. Default: efficientnet-lite0.")
@click.option("--host", help="Address to listen on. Default: 127.0.0.1, this machine only.")
@click.option("--port", type=int, help="Default: 8080; 0 takes a free port.")
@click.option(
    "--check", is_flag=True, help="Start no service: test every model that the settings name, and print the result."
)
@click.option("--json", "as_json", is_flag=True, help="Print what --check finds as a JSON list.")
@click.pass_obj
def serve(
    config: Path | None, /, model: str | None, host: str | None, port: int | None, check: bool, as_json: bool
) -> None:
    """Start the HTTP service: a page for uploads at /, and POST /api/v1/explain for programs.

    With --check, the default model, the models of serve.preload and all models in models.folders explain one small
    image each. The exit status is 0 if all of them work, 1 if a model fails, and 2 if a setting is wrong.

    \b
    Example:
      camserve serve --model finch --port 8080
      camserve serve --model finch --check
      curl --data-binary @photos/cat.jpg -H "Content-Type: image/jpeg" localhost:8080/api/v1/explain -o why.png
    """
    settings = read_settings(config, explain={"model": model}, serve={"host": host, "port": port})
    if check:
        _check(settings, as_json)
        return
    if as_json:
        raise click.UsageError("--json goes with --check")
    from camserve.web.server.serve import serve as run

    run(settings)


@click.command(short_help="Start a server with tools for language models (MCP).")
@click.argument("folders", nargs=-1, required=True, type=Place(), metavar="FOLDER...")
@click.option("-m", "--model", help="Model for calls that name no model. Default: efficientnet-lite0.")
@click.pass_obj
def mcp(config: Path | None, /, folders: tuple[Path, ...], model: str | None) -> None:
    """Serve the tools explain, compare, evaluate and inspect to a language model, over the Model Context Protocol.

    The server uses standard input and output, as programs that start it expect. A language model may name the
    photographs in each FOLDER, and models by the name of their card. It cannot name other files, and the server writes
    nothing. Needs the extra mcp.

    \b
    Example:
      pip install "camserve[mcp]"
      camserve mcp photos
    """
    from camserve.agents.protocol import run
    from camserve.agents.tools import tools_of

    run(tools_of(folders, read_settings(config, explain={"model": model})))


def _check(settings: "Settings", as_json: bool) -> None:
    from camserve.web.self_check import painter_of, try_models

    trials = []
    for trial in try_models(settings):
        trials.append(trial)
        if not as_json:
            click.echo(_line(trial))
    if as_json:
        click.echo(json.dumps([vars(trial) for trial in trials], indent=1))
    else:
        click.echo(f"overlays are painted by {painter_of(settings)}")
    if any(trial.error for trial in trials):
        click.get_current_context().exit(SOME_FAILED)


def _line(trial: "Trial") -> str:
    if trial.error:
        return f"{trial.model}: fails: {trial.error}" + (f" ({trial.card})" if trial.card not in trial.error else "")
    return f"{trial.model}: {trial.engine}, {trial.milliseconds:g} ms, loaded in {trial.load_milliseconds:g} ms"
