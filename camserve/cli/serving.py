"""`camserve serve`: the HTTP service."""

from pathlib import Path

import click

from camserve.cli.program import read_settings


@click.command(short_help="Start the HTTP service, with a page for uploads.")
@click.option("-m", "--model", help="The model served when a request names none. Default: efficientnet-lite0.")
@click.option("--host", help="Address to listen on. Default: 127.0.0.1, this machine only.")
@click.option("--port", type=int, help="Default: 8080; 0 takes a free one.")
@click.pass_obj
def serve(config: Path | None, /, model: str | None, host: str | None, port: int | None) -> None:
    """Start the HTTP service: a page for uploads at /, and POST /api/v1/explain for programs.

    \b
    Example:
      camserve serve --model finch --port 8080
      curl --data-binary @cat.jpg -H "Content-Type: image/jpeg" localhost:8080/api/v1/explain -o why.png
    """
    from camserve.web.server import serve as run

    run(read_settings(config, explain={"model": model}, serve={"host": host, "port": port}))
