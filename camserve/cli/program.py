"""What every command shares: how errors end the program, and where settings come from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.errors import CamserveError

if TYPE_CHECKING:
    from camserve.config.schema import Settings

SOME_FAILED, NOTHING_USABLE, INTERRUPTED = 1, 3, 130


class Program(click.Group):
    """Shows camserve's own errors as one line and ends with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CamserveError as error:
            click.echo(f"camserve: {error}", err=True)
            ctx.exit(error.exit_code)


def read_settings(config: Path | None, **overrides: dict[str, Any]) -> "Settings":
    """The settings, with a command's flags on top: `overrides` is {section: {key: value}}; None is not given."""
    from camserve.config.schema import load_settings

    return load_settings(config, overrides)
