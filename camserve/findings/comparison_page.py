"""The page of a comparison: the verdict, and the worst cases side by side, from the disk."""

import os
from pathlib import Path
from typing import Any

from camserve.findings.report_page import PAGES, TEMPLATES
from camserve.findings.run_comparison import Check, Difference
from camserve.system.files import write_whole
from camserve.version import __version__


def write_comparison(path: Path, a: Path, b: Path, difference: Difference, found: list[Check]) -> None:
    """Write the page; its pictures stay where the runs are. Raises OutputError."""
    cases = [
        {**case, **{side: _linked(case[side], run, path.parent) for side, run in (("a", a), ("b", b))}}
        for case in difference.worst
    ]
    page = PAGES.get_template("compare.html").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8") + (TEMPLATES / "compare.css").read_text("utf-8"),
        a=a, b=b, difference=difference, checks=found, passed=all(check.passed for check in found), cases=cases,
        version=__version__,
    )  # fmt: skip
    write_whole(path, page.encode("utf-8", "backslashreplace"))


def _linked(side: dict[str, Any], run: Path, page: Path) -> dict[str, Any]:
    """With paths as the page sees them."""
    paths = {kind: side[kind] for kind in ("thumbnail", "overlay") if side[kind]}
    return {**side, **{kind: Path(os.path.relpath(run / path, page)).as_posix() for kind, path in paths.items()}}
