"""Checks OUT for an earlier run: one to resume, a finished one, or one that must not be overwritten."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import chain, product
from pathlib import Path, PurePosixPath
from typing import Any

from camserve.batch.batch_options import Options
from camserve.batch.outputs import below, ending_of
from camserve.batch.plan import Plan, read_plan
from camserve.catalogue.run_files import (
    AGAINST,
    EVALUATION,
    FINDINGS,
    KINDS,
    PAGE,
    PICTURES,
    RESULTS,
    RUN,
    THUMBNAILS,
)
from camserve.datasets.inputs import Item
from camserve.datasets.remote import is_remote
from camserve.errors import CamserveError, OptionError, OutputError
from camserve.findings.exports import EXPORTS
from camserve.findings.results import Ledger, Row, whole_rows
from camserve.system.files import open_file, reason

_WAYS = "Give another OUT, or --restart, which removes the files of that run"
_OF_ALL = (PAGE, FINDINGS, *EVALUATION)  # files that a new run would overwrite, or leave beside its own
_NAMED = 5  # the most differences between two runs that an error lists


def check_out(out: Path, source: str, *, resume: bool) -> Plan | None:
    """Return the plan of the run in OUT, or None if there is none. Needs no model.

    resume: whether the run may be unfinished. Raises OptionError if OUT holds a run of another source, or an unfinished
    run without `resume`; OutputError if the plan cannot be read.
    """
    plan = read_plan(out)
    if plan is None:
        if whole_rows(out)[0]:
            raise OptionError(f"'{out}' holds {RESULTS} of a run, but not its {RUN}. {_WAYS}")
        if held := next((name for name in _OF_ALL if (out / name).exists()), None):
            raise OptionError(
                f"'{out}' holds '{held}', but no run. Give another OUT, or --restart, which removes this file"
            )
        return None
    if not _same_source(plan.source, source):
        raise _other(plan, [_source_changed(plan, source)])
    done = whole_rows(out)[0]
    if done < plan.count and not resume:
        raise OptionError(
            f"'{out}' holds an unfinished run, {done} of {plan.count} images: --resume continues it, --restart "
            "starts again"
        )
    return plan


def check_same(plan: Plan, source: str, facts: dict[str, Any]) -> None:
    """Raise OptionError if the source or the options differ from those of the plan in OUT; it lists the differences."""
    now = json.loads(json.dumps(facts))  # tuples become lists, as in the file
    unset = json.loads(json.dumps({"options": Options().facts()}))  # for options that an older run did not have yet
    before, after = dict(_flat(unset)) | dict(_flat(plan.facts)), dict(_flat(now))
    changed = [f"{key} was {before.get(key)!r}, is {after.get(key)!r}" for key in sorted(before.keys() | after.keys())
               if before.get(key) != after.get(key)]  # fmt: skip
    if not _same_source(plan.source, source):
        changed.insert(0, _source_changed(plan, source))
    if changed:
        raise _other(plan, changed)


def check_news(plan: Plan, listed: Iterable[Item], *, resume: bool) -> str:
    """Compare a finished run with its source as it is now; return a message. listed: items in the order of a plan.

    resume: whether the source may have changed or be missing. Raises OptionError if it may not.
    """
    try:
        news = _news(plan, listed)
    except OptionError:
        if not resume:
            raise
        news = ""
    if not news:
        count = plan.count
        return f"'{plan.out}' is finished: {count} of {count} images. --restart explains them again"
    said = f"'{plan.out}' holds a finished run of '{plan.source}', but the images there have changed: {news}"
    if not resume:
        raise OptionError(f"{said}. Give another OUT, or --restart to explain all of them again")
    return f"{said}; --restart explains all of them again"


def has_page(out: Path) -> bool:
    """Whether the findings and the page are newer than the last result."""
    with suppress(OSError):
        latest = (out / RESULTS).stat().st_mtime_ns
        return min((out / name).stat().st_mtime_ns for name in (FINDINGS, PAGE)) >= latest
    return False


def _news(plan: Plan, listed: Iterable[Item]) -> str:
    """The differences between the source and a finished run, in words; "" if there are none."""
    counts = dict.fromkeys(("new", "gone", "listed otherwise"), 0)
    before, now = iter(plan.items()), iter(listed)
    old, new = next(before, None), next(now, None)
    while old is not None or new is not None:
        if old is None or (new is not None and new.name < old.name):
            counts["new"] += 1
            new = next(now, None)
        elif new is None or old.name < new.name:
            counts["gone"] += 1
            old = next(before, None)
        else:
            counts["listed otherwise"] += (old.expected, old.targets) != (new.expected, new.targets)
            old, new = next(before, None), next(now, None)
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def remove_run(out: Path) -> None:
    """Remove the files that the plan and the results of the run in OUT name, and no others. Plan and results stay.

    Without results, remove only the page, the findings and the evaluation.

    Raises OutputError, also if another process is still writing.
    """
    if not (out / RESULTS).exists():
        for path in _OF_ALL:
            _remove(out, path)
        return
    with Ledger(out) as ledger:
        for path in chain(_of_rows(out), _of_the_rest(out, ledger.count), _about_all(out)):
            _remove(out, path)


def _of_rows(out: Path) -> Iterator[str]:
    """The files that results.jsonl names, if they are in a folder of pictures."""
    with open_file(out / RESULTS) as lines:
        for line in lines:
            with suppress(ValueError, TypeError, AttributeError, IndexError):  # results.jsonl may hold anything
                row: Row = json.loads(line)
                for one in row.get("explanations", ()):
                    for path in one.get("files", {}).values():
                        parts = PurePosixPath(path).parts
                        if parts[0] in PICTURES and os.pardir not in parts:
                            yield path


def _of_the_rest(out: Path, done: int) -> Iterator[str]:
    """The files that a killed run may have written for images without a row; none if the plan cannot be read."""
    with suppress(CamserveError, KeyError, TypeError, ValueError):
        plan = read_plan(out)
        if plan is not None and done < plan.count:
            yield from _of_items(plan, done)


def _of_items(plan: Plan, done: int) -> Iterator[str]:
    """All files that a run can write for the images of a plan from number `done` on."""
    asked = plan.facts["options"]
    options = Options(
        methods=tuple(asked["methods"]),
        targets=asked["targets"] if isinstance(asked["targets"], int) else tuple(asked["targets"]),
        image_format=asked["image_format"],
    )
    variants = [*options.variants(plan.labelled), *(f"target-{place}" for place in range(1, plan.targets + 1))]
    folders = ["", *(below(*pair) for pair in product(options.methods, variants))]
    for item in plan.items(done):
        for folder in folders:
            yield from (f"{kind}/{folder}{item.name}.jpg" for kind in (THUMBNAILS, AGAINST))
            yield from (f"{KINDS[kind][0]}/{folder}{item.name}{ending_of(kind, options)}" for kind in KINDS)


def _about_all(out: Path) -> Iterator[str]:
    yield from (*_OF_ALL, *(path for files in EXPORTS.values() for path in files))


def _remove(out: Path, path: str) -> None:
    """Remove a file, and the folders above it if they are then empty."""
    file = out / path
    try:
        file.unlink(missing_ok=True)
        for folder in list(file.parents)[: len(PurePosixPath(path).parts) - 1]:
            folder.rmdir()
    except OSError as error:
        if os.path.lexists(file):  # else a folder is not empty, or is already removed
            raise OutputError(f"cannot remove '{file}': {reason(error)}") from None


def _other(plan: Plan, changed: list[str]) -> OptionError:
    """The error for an OUT that holds another run."""
    done = whole_rows(plan.out)[0]
    state = "a finished run" if done >= plan.count else "an unfinished run"
    model, begun = plan.facts.get("model", {}).get("name"), _begun(plan.out)
    by, when = f" by {model}" if model else "", f", begun {begun:%Y-%m-%d %H:%M}" if begun else ""
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return OptionError(
        f"'{plan.out}' holds {state} of another kind, {done} of {plan.count} images of '{plan.source}'{by}{when}: "
        f"{'; '.join(changed[:_NAMED])}{more}. {_WAYS}"
    )


def _begun(out: Path) -> datetime | None:
    with suppress(OSError):
        return datetime.fromtimestamp((out / RUN).stat().st_mtime).astimezone()
    return None


def _source_changed(plan: Plan, source: str) -> str:
    return f"the source was {plan.source!r}, is {source!r}"


def _same_source(one: str, other: str) -> bool:
    if is_remote(one) or is_remote(other):
        return one == other
    return os.path.normpath(one) == os.path.normpath(other)


def _flat(facts: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(facts, dict):
        for key, value in facts.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, facts
