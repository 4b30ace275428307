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
        """Like click's main, but characters that the terminal cannot write are escaped.

        If the output cannot be written, for example on a full disk, the program ends with the status of OutputError.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.filename is not None:  # a stream has no file name
                raise
            _give_up_on_output()
            with suppress(OSError):
                click.echo(f"camserve: cannot write the output: {error.strerror}", err=True)
            sys.exit(OutputError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with one_shortage("the command was ended"):
                return super().invoke(ctx)
        except CamserveError as error:
            click.echo(f"camserve: {error}", err=True)
            ctx.exit(error.exit_code)


class Place(click.Path):
    """A path that is not empty. An unset shell variable gives an empty path, which would mean the current folder."""

    def __init__(self, **how: Any) -> None:
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Like click's convert, but refuses an empty text."""
        if value == "":
            self.fail("the path is empty; give a path, such as . for the current folder", param, ctx)
        return super().convert(value, param, ctx)


def _give_up_on_output() -> None:
    """Send the rest of the output to the null device, so that Python does not try to write it again when it exits."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def read_settings(config: Path | None, **overrides: dict[str, Any]) -> "Settings":
    """The settings with the flags of a command. overrides: {section: {key: value}}; None means not given."""
    from camserve.config.schema import load_settings

    return load_settings(config, overrides)
