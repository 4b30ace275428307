"""A part of the benchmarks as a program: its options, its results on the terminal, and one page for several parts."""

import argparse
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from measuring import Results, Skipped, Table
from page import as_json, as_markdown, cell, circumstances
from subjects import Plan, engines


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every part."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean nothing")
    made.add_argument("--model", default="efficientnet-lite0", help="a card, or an architecture (default: %(default)s)")
    made.add_argument("--engines", nargs="+", choices=engines(), default=engines(), help="default: all there are")
    made.add_argument("--repeats", type=int, default=60, help="of what takes milliseconds (default: %(default)s)")
    made.add_argument("--patience", type=float, default=120, help="seconds until one explanation is given up")
    made.add_argument("--openvino-xai", metavar="PYTHON", help="the Python of an environment with openvino-xai 1.1.0")
    made.add_argument("--old", type=Path, metavar="FOLDER", help="a checkout of an earlier version, for the part pairs")
    return made


def chosen(parts: Iterable[str], text: str) -> list[str]:
    """Parse names of `parts` separated by commas, for argparse."""
    names, known = text.split(","), list(parts)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; there are {', '.join(known)}")
    return names


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan for the options of the command line."""
    return Plan(
        model=options.model,
        engines=tuple(options.engines),
        repeats=3 if options.quick else options.repeats,
        quick=options.quick,
        openvino_xai=options.openvino_xai,
        patience=0.5 if options.quick else options.patience,
        old=options.old,
    )


def print_table(table: Table) -> None:
    """Print a table on the terminal, columns aligned."""
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
    """Print `results` and return them."""
    for table in results.tables:
        print_table(table)
    for note in results.notes:
        print(f"left out: {note}")
    for aim in results.aims:
        print(f"{aim.what}: {aim.value:.3g}, aim {'at least' if aim.at_least else 'at most'} {aim.limit:g}")
    return results


def alone(measure: Callable[[Plan], Results], about: str | None) -> None:
    """Run one part as a program."""
    try:
        shown(measure(plan_of(parser(about).parse_args())))
    except Skipped as reason:
        sys.exit(f"left out: {reason}")


def written(
    out: Path, parts: Mapping[str, Callable[[], dict[str, Any]]], *, quick: bool = False
) -> dict[str, dict[str, Any]]:
    """Run all parts, and write OUT.md and OUT.json after each part."""
    facts = {"command": shlex.join(["python", *sys.argv]), "quick": quick, **circumstances()}
    found: dict[str, dict[str, Any]] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        found[name] = part()
        out.with_suffix(".json").write_text(as_json(facts, found), encoding="utf-8")
        out.with_suffix(".md").write_text(as_markdown(facts, found), encoding="utf-8")
    print(f"\nwritten: {out.with_suffix('.md')} and .json")
    return found


def one_part(name: str, about: str | None, measure: Callable[[], Results]) -> dict[str, Any]:
    """Run a part; return its docstring, its time, and its results or why it was left out."""
    assert about is not None
    print(f"\n== {name}: {about.splitlines()[0]}", flush=True)
    start, part = time.perf_counter(), {"about": about}
    try:
        part["results"] = shown(measure())
    except Skipped as reason:
        print(f"left out: {reason}")
        part["skipped"] = str(reason)
    except Exception as error:  # do not lose the results of the other parts
        traceback.print_exc()
        part["failed"] = part["skipped"] = f"{type(error).__name__}: {error}"
    return {**part, "seconds": round(time.perf_counter() - start, 1)}


def failures(parts: dict[str, dict[str, Any]]) -> list[str]:
    """Return broken promises, and parts that failed."""
    failed = [f"{name}: {part['failed']}" for name, part in parts.items() if "failed" in part]
    aims = [aim for part in parts.values() if "results" in part for aim in part["results"].aims]
    return failed + [f"{aim.what}: {aim.value:.3g}" for aim in aims if not aim.reached]
