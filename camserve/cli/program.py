"""What every command shares: how errors end the program, and where settings come from."""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.errors import CamserveError, OutputError
from camserve.system.shortage import one_shortage

if TYPE_CHECKING:
    from camserve.config.schema import Settings

SOME_FAILED, NOTHING_USABLE, INTERRUPTED = 1, 3, 130


class Program(click.Group):
    """Shows camserve's own errors as one line and ends with their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's own; what the terminal's letters cannot write, such as a name in another encoding, is escaped.

        Ends as for a result that cannot be written where there is no room for what is said.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.filename is not None:  # no stream, which has no name
                raise
            _give_up_on_output()
            with suppress(OSError):
                click.echo(f"camserve: cannot write what there is to say: {error.strerror}", err=True)
            sys.exit(OutputError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with one_shortage("the command was ended"):
                return super().invoke(ctx)
        except CamserveError as error:
            click.echo(f"camserve: {error}", err=True)
            ctx.exit(error.exit_code)


class Place(click.Path):
    """A path that is not empty, as that of a variable of the shell that is not set: it would mean where one stands."""

    def __init__(self, **how: Any) -> None:
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own. Refuses an empty text."""
        if value == "":
            self.fail("it is empty; give a path, such as . for the folder that you are in", param, ctx)
        return super().convert(value, param, ctx)


def _give_up_on_output() -> None:
    """Let what could not be written go nowhere, so that Python does not try again at its end and complains."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def read_settings(config: Path | None, **overrides: dict[str, Any]) -> "Settings":
    """The settings, with a command's flags on top: `overrides` is {section: {key: value}}; None is not given."""
    from camserve.config.schema import load_settings

    return load_settings(config, overrides)
