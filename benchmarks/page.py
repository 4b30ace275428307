"""Results as one page of Markdown and one file of JSON, with the machine they were measured on."""

import importlib.metadata
import json
import math
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from measuring import Aim, Results, Row

import camserve
from camserve.system.cores import granted_cores

PACKAGES = (
    "torch", "torchvision", "numpy", "pillow", "openvino", "grad-cam", "torchcam", "captum", "flask", "gunicorn",
)  # fmt: skip
SMOKE = "**A smoke run (`--quick`): it shows that everything runs. Its figures mean nothing.**"


def circumstances() -> dict[str, Any]:
    """Return machine, versions and thread settings of this run."""
    versions = {"camserve": camserve.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "cores granted": granted_cores(),
            "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "versions": versions,
        "threads": {
            "torch by itself": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "camserve": "one intra-op thread a worker, one worker a core granted, unless a table says otherwise",
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "not stated"


def as_json(facts: dict[str, Any], parts: dict[str, dict[str, Any]]) -> str:
    """Return everything as JSON, with all digits. parts: {name: {"about", "seconds", "skipped" or "results"}}."""
    found = {}
    for name, part in parts.items():
        results = part.get("results")
        found[name] = {**part, "results": asdict(results) if results is not None else None}
    return json.dumps({**facts, "parts": found}, indent=1)


def as_markdown(facts: dict[str, Any], parts: dict[str, dict[str, Any]]) -> str:
    """Return the results as a page to read."""
    lines = ["# What camserve costs, measured", ""]
    if facts["quick"]:
        lines += [SMOKE, ""]
    lines += [f"`{facts['command']}` on {facts['date']}", ""]
    for about in ("machine", "versions", "threads"):
        lines.append(f"- {about}: " + ", ".join(f"{key} {value}" for key, value in facts[about].items()))
    aims = [aim for part in parts.values() if part.get("results") for aim in part["results"].aims]
    if aims:
        lines += ["", "## In one look", "", *_table([_aim_row(aim) for aim in aims])]
    for name, part in parts.items():
        lines += ["", f"## {name}", "", *_about(part["about"]), ""]
        lines += [f"Left out: {part['skipped']}."] if part.get("skipped") else results_lines(part["results"])
    return "\n".join(lines).rstrip() + "\n"


def results_lines(results: Results) -> list[str]:
    """Return tables and notes of one part as Markdown."""
    lines: list[str] = []
    for table in results.tables:
        lines += [f"### {table.title}", "", *_table(table.rows), ""]
        lines += [table.note, ""] if table.note else []
    for note in results.notes:
        lines += [f"Left out: {note}.", ""]
    return lines


def _about(text: str) -> list[str]:
    """Return a module's docstring as lines: its command stays indented, and Markdown shows it as code."""
    return text.strip().splitlines()


def _aim_row(aim: Aim) -> Row:
    bound = "at least" if aim.at_least else "at most"
    return {"what": aim.what, "measured": aim.value, "aim": f"{bound} {aim.limit:g}", "reached": aim.reached}


def _table(rows: list[Row]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = [any(isinstance(row.get(c), int | float | list) for row in rows) for c in columns]
    head = ["| " + " | ".join(columns) + " |", "|" + "|".join("---:" if n else "---" for n in numeric) + "|"]
    return head + ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]


def cell(value: Any) -> str:
    """Return a cell as text: three significant digits, yes and no; [low, high] and [median, low, high]."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        first, *range_ = (cell(one) for one in value)
        return f"{first} ({' to '.join(range_)})" if len(range_) > 1 else f"{first} to {range_[0]}"
    if isinstance(value, float):
        if not math.isfinite(value) or value == 0:
            return str(value)
        return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
