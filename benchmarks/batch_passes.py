"""The passes of `camserve batch` over all images at once, with ten times as many rows."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batch_runs import Case
from measuring import Results, Row, Skipped, Table
from memory import status
from report_page import page_times

import camserve
from camserve.batch.plan import make_plan
from camserve.datasets.inputs import Item
from camserve.findings.exports import export
from camserve.findings.findings import find, write_findings
from camserve.findings.report_page import write_report
from camserve.findings.results import read_rows

TIMES = 10


def passes(case: Case) -> Results:
    """Measure seconds and memory of each pass, in this process, over the rows of a run, repeated ten times.

    The repeated rows have other names. The peak is the growth of the resident set during the pass. Then the page is
    opened in a Chromium.
    """
    case.finished()
    out, model = case.new("many"), camserve.load(case.model)
    names = [f"{copy:02}/{row['file']}" for copy in range(TIMES) for row in read_rows(case.out)]
    table = Passes(len(names))
    items = (Item(name, name) for name in reversed(names))
    plan = table("sort the list", lambda: make_plan(items, out, "many", model, {"model": {"name": model.name}}))
    write_rows(case.out, out)
    pairs = zip(read_rows(out), plan.items(), strict=True)
    table("see what is done", lambda: sum(row["file"] == item.name for row, item in pairs))
    findings = table("findings: sums", lambda: find(out, model.labels))
    facts = table("findings: lists", lambda: write_findings(out, findings))
    table("page", lambda: write_report(plan.out, plan.source, model.name, findings, facts, ("inferno", "icefire")))
    table("export as CSV", lambda: export(out, "csv", model.labels))
    results = Results([Table(f"{len(names):,} rows", table.rows)])
    try:
        results.tables.append(page_times(out / "index.html", len(names)))
    except Skipped as reason:
        results.notes.append(f"the page: {reason}")
    return results


class Passes:
    """Measures passes over `count` rows."""

    def __init__(self, count: int) -> None:
        self.count, self.rows = count, list[Row]()

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Measure `work` and return its result."""
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current resident set
        start = time.perf_counter()
        made = work()
        took = time.perf_counter() - start
        microseconds, peak = 1e6 * took / self.count, status("VmHWM") - before
        self.rows.append({"pass": name, "s": took, "µs an image": microseconds, "peak over before, MB": peak})
        return made


def write_rows(source: Path, out: Path) -> None:
    """Write results.jsonl for the repeated names, in their order, with the pictures of `source`."""
    for kind in ("overlays", "thumbnails"):
        (out / kind).symlink_to((source / kind).resolve())
    with (out / "results.jsonl").open("w", encoding="utf-8") as results:
        for copy in range(TIMES):
            for row in read_rows(source):
                results.write(json.dumps({**row, "file": f"{copy:02}/{row['file']}"}) + "\n")
