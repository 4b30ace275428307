"""A part of the benchmarks as a program: its options, and what it found on the terminal."""

import argparse
import sys
from collections.abc import Callable

from measuring import Results, Skipped, Table
from page import cell
from subjects import Plan, engines


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that every part has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean nothing")
    made.add_argument("--model", default="efficientnet-lite0", help="a card, or an architecture (default: %(default)s)")
    made.add_argument("--engines", nargs="+", choices=engines(), default=engines(), help="default: all there are")
    made.add_argument("--repeats", type=int, default=60, help="of what takes milliseconds (default: %(default)s)")
    made.add_argument("--patience", type=float, default=120, help="seconds until one explanation is given up")
    made.add_argument("--openvino-xai", metavar="PYTHON", help="the Python of an environment with openvino-xai 1.1.0")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that command line options ask for."""
    return Plan(
        model=options.model,
        engines=tuple(options.engines),
        repeats=3 if options.quick else options.repeats,
        quick=options.quick,
        openvino_xai=options.openvino_xai,
        patience=0.5 if options.quick else options.patience,
    )


def print_table(table: Table) -> None:
    """A table on the terminal, columns aligned."""
    columns = list(dict.fromkeys(column for row in table.rows for column in row))
    lines = [columns, *([cell(row.get(column)) for column in columns] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{table.title}")
    for first, *others in lines:
        print(
            first.ljust(widths[0]), *(text.rjust(wide) for text, wide in zip(others, widths[1:], strict=True)), sep="  "
        )
    if table.note:
        print(table.note)


def shown(results: Results) -> Results:
    """`results`, after printing them."""
    for table in results.tables:
        print_table(table)
    for note in results.notes:
        print(f"left out: {note}")
    for aim in results.aims:
        print(f"{aim.what}: {aim.value:.3g}, aim {'at least' if aim.at_least else 'at most'} {aim.limit:g}")
    return results


def alone(measure: Callable[[Plan], Results], about: str | None) -> None:
    """A part as a program of its own."""
    try:
        shown(measure(plan_of(parser(about).parse_args())))
    except Skipped as reason:
        sys.exit(f"left out: {reason}")
