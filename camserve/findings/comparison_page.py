"""Writes the folder of a comparison: the verdict as a page and as JSON, and the worst cases. You can move it."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from camserve.catalogue.run_files import COMPARISON, PAGE, RESULTS, RUN
from camserve.errors import OptionError
from camserve.findings.report_page import PAGES, TEMPLATES
from camserve.findings.results import origin_of
from camserve.findings.run_comparison import Check, Difference, to_dict
from camserve.system.files import open_file, write_all
from camserve.version import __version__

_PICTURES = "pictures"
_KINDS = ("thumbnail", "overlay")


def check_place(out: Path, a: Path, b: Path, *, restart: bool = False) -> None:
    """Raise OptionError if OUT holds a run, a comparison of other runs, or a page that is not of a comparison.

    restart: allow a comparison of other runs, and any page.
    """
    if (out / RUN).exists() or (out / RESULTS).exists():
        raise OptionError(f"'{out}' holds a run of `camserve batch`: give -o another folder, such as '{out}-compared'")
    ways = "Give -o another folder, or --restart, which overwrites it"
    earlier = _earlier(out)
    if restart or (not earlier and not (out / PAGE).exists()):
        return
    if not earlier:
        raise OptionError(f"'{out / PAGE}' was not written by `camserve compare`. {ways}")
    if any(earlier[key] != value for key, value in _of(a, b).items()):
        compared = " and ".join(f"'{folder}'" for folder in earlier["folders"].values())
        raise OptionError(f"'{out}' holds an earlier comparison of {compared}. {ways}")


def write_comparison(out: Path, a: Path, b: Path, difference: Difference, found: list[Check]) -> dict[str, Any]:
    """Write comparison.json, index.html and copies of pictures, all or nothing. Returns what comparison.json holds.

    Pictures of runs inside OUT are not copied. Pictures of an earlier comparison are removed. Raises OutputError.
    """
    folders, copies = {"a": a, "b": b}, dict[str, bytes | Path]()
    for (place, case), side in product(enumerate(difference.worst), folders):
        for kind in _KINDS:
            case[side][kind] = _shown(out, folders[side], case[side][kind], f"{side}/{place:03}-{kind}", copies)
    facts = {**to_dict(difference, found), **_of(a, b), "pictures": list(copies)}
    page = PAGES.get_template("compare.html").render(
        css="".join((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "compare.css")),
        js=(TEMPLATES / "enlarge.js").read_text("utf-8"),
        a=a, b=b, difference=difference, checks=found, passed=all(check.passed for check in found), version=__version__,
    )  # fmt: skip
    before = _earlier(out)
    written = {PAGE: page, COMPARISON: json.dumps(facts, ensure_ascii=False)}
    write_all(out, {**copies, **{name: text.encode("utf-8", "backslashreplace") for name, text in written.items()}})
    for path in _own_pictures(before):
        if path not in copies:
            (out / path).unlink(missing_ok=True)
    return facts


def _shown(out: Path, run: Path, path: str | None, name: str, copies: dict[str, bytes | Path]) -> str | None:
    """The path of a run's picture for a page in OUT. If the run is not inside OUT, the picture is added to `copies`."""
    if path is None or not (run / path).is_file():
        return None
    if run.absolute().is_relative_to(out.absolute()):
        return Path(os.path.relpath(run / path, out)).as_posix()
    shown = f"{_PICTURES}/{name}{PurePosixPath(path).suffix}"
    copies[shown] = run / path
    return shown


def _of(a: Path, b: Path) -> dict[str, Any]:
    """The folders of the runs, and how each run was made."""
    runs = {"a": origin_of(a), "b": origin_of(b)}
    return {
        "folders": {"a": str(a.absolute()), "b": str(b.absolute())},
        "runs": {side: origin and origin._asdict() for side, origin in runs.items()},
    }


def _earlier(out: Path) -> dict[str, Any]:
    """The folders, runs and pictures of the comparison in OUT; {} if there is no readable one."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        with open_file(out / COMPARISON) as file:
            kept = json.load(file)
        return {"folders": dict(kept["folders"]), "runs": dict(kept["runs"]), "pictures": list(kept["pictures"])}
    return {}


def _own_pictures(earlier: dict[str, Any]) -> Iterator[str]:
    for path in earlier.get("pictures", ()):
        parts = PurePosixPath(str(path)).parts
        if parts[0] == _PICTURES and os.pardir not in parts:
            yield str(path)
