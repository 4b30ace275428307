"""The command line: a thin layer over the Python API. `camserve COMMAND --help` says what each command does.

program.py             what every command shares: how errors end it, and where settings come from
prechecks.py           checks of a command line before a model is loaded
flags.py               options of the commands that explain
adding.py              `camserve add`
lists.py               options that take several numbers, and options that take NAME=VALUE
batching.py            `camserve batch` and `demo`
summarising.py         the last lines of `camserve batch`
calibrating.py         `camserve calibrate`
comparing_runs.py      `camserve compare`
explaining.py          `camserve explain`
explaining_several.py  `camserve explain` with several methods or classes
redrawing.py           `camserve explain --common-scale`
sanity_checking.py     `camserve sanity`
reporting.py           what `camserve explain` prints for each image
method_progress.py     a progress bar for long methods
evaluating.py          `camserve evaluate`
exporting.py           `camserve export`
inspecting.py          `camserve inspect`
listing.py             `camserve models`, `layers`, `methods` and `metrics`
serving.py             `camserve serve` and `mcp`
"""

from pathlib import Path

import click

from camserve.cli.adding import add
from camserve.cli.batching import batch, demo
from camserve.cli.calibrating import calibrate
from camserve.cli.comparing_runs import compare
from camserve.cli.evaluating import evaluate
from camserve.cli.explaining import explain
from camserve.cli.exporting import export
from camserve.cli.inspecting import inspect
from camserve.cli.listing import layers, methods, metrics, models
from camserve.cli.program import Program
from camserve.cli.sanity_checking import sanity
from camserve.cli.serving import mcp, serve
from camserve.system.allocation import keep_freed_memory
from camserve.version import __version__


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camserve")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; see config.toml for all settings.")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Why did my classifier say that? Heatmaps over photographs, from image classifiers.

    \b
    camserve demo                            photographs that come with camserve, for a first look
    camserve explain photos/cat.jpg -o out   one photograph
    camserve batch photos out                a folder of photographs, with a page that shows them
    camserve serve                           the HTTP service, with a page for uploads
    """
    keep_freed_memory()
    ctx.obj = config


COMMANDS = (
    demo, add, explain, batch, compare, evaluate, models, layers, methods, metrics, inspect, sanity, calibrate, export,
    serve, mcp,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
