"""The plan of a run, written before the run starts, so that the run can be resumed after any interruption.

OUT/inputs.jsonl has one line per image, sorted by name. OUT/run.json is written last; it holds everything that the
results depend on. The images are sorted in pieces, so that memory does not grow with their number.
"""

import heapq
import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from camserve.catalogue.class_names import resolve_class
from camserve.catalogue.run_files import INPUTS, RESULTS, RUN
from camserve.datasets.inputs import Item, nothing_found
from camserve.datasets.left_out import AGAIN, LeftOut
from camserve.errors import OptionError, OutputError
from camserve.system.files import make_folder, open_file, reason, write_whole, writing

if TYPE_CHECKING:
    from camserve.model import Model

_PIECE = 2**16  # items sorted at once


@dataclass(frozen=True)
class Plan:
    """The inputs of a run.

    count: the number of images. ignored: the number of files whose name has no image ending. labelled: whether the
    class of any image is known. targets: the most targets that a table names for one image. facts: what the results
    depend on.
    left_out, notes: see `LeftOut`."""

    out: Path
    source: str
    count: int
    ignored: int
    labelled: bool
    targets: int
    facts: dict[str, Any]
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def items(self, first: int = 0) -> Generator[Item]:
        """The inputs in order, from number `first` on. Raises OutputError if the plan cannot be read."""
        path = self.out / INPUTS
        try:
            with open_file(path) as lines:
                yield from map(item_of, islice(lines, first, None))
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"cannot read '{path}': {reason(error)}; --restart starts again") from None


def make_plan(
    items: Iterable[Item | None],
    out: Path,
    source: str,
    model: "Model",
    facts: dict[str, Any],
    *,
    expected: int | str | None = None,
    left_out: LeftOut | None = None,
    clear: Callable[[], None] = lambda: None,
) -> Plan:
    """Write the plan into OUT: the sorted items, and what the run depends on. A file that is listed twice is one item.

    expected: the class of items that name no class. Class names become indices of `model`. left_out: the notes of
    `items`, which the plan keeps. clear: called when all items have been checked; removes the files of an earlier run.
    Raises OptionError if there are no items, or a class is unknown.
    """
    left_out = left_out or LeftOut()
    counts = {"ignored": 0, "count": 0, "labelled": 0, "targets": 0}

    def wanted() -> Iterator[Item]:
        for item in items:
            if item is None:
                counts["ignored"] += 1
            else:
                yield item

    make_folder(out)
    with writing(out / INPUTS) as file:
        for item in in_plan(wanted(), out, model, expected, left_out):
            file.write(json.dumps(item).encode() + b"\n")
            counts["count"] += 1
            counts["labelled"] += item.expected is not None
            counts["targets"] = max(counts["targets"], len(item.targets))
        if not counts["count"]:
            raise nothing_found(source, left_out)
        clear()
        for old in (RUN, RESULTS):  # from here on no row of an earlier run can count as a row of this run
            (out / old).unlink(missing_ok=True)
    labelled = counts["labelled"] > 0
    about: dict[str, Any] = {"facts": facts, "left_out": left_out.to_dict(), "notes": left_out.notes}
    plan = Plan(out, source, counts["count"], counts["ignored"], labelled, counts["targets"], **about)
    kept = {key: value for key, value in vars(plan).items() if key != "out"}
    write_whole(out / RUN, json.dumps(kept, indent=1).encode())
    return plan


def in_plan(
    items: Iterable[Item],
    out: Path,
    model: "Model",
    expected: int | str | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Item]:
    """The items in the form of a plan: sorted by name, one per name, classes as indices.

    Raises OptionError, OutputError.
    out: a folder for temporary files, because there may be more items than fit into memory. expected, left_out: see
    `make_plan`.
    """
    return _merged(_sorted((_resolved(item, model, expected) for item in items), out), left_out or LeftOut())


def read_plan(out: Path) -> Plan | None:
    """Return the plan of the run in OUT, or None if there is none. Raises OutputError if it cannot be read."""
    try:
        with open_file(out / RUN) as file:
            kept = json.load(file)
        if not isinstance(kept["count"], int) or not isinstance(kept["facts"], dict):
            raise ValueError("it is not a plan")
        return Plan(out=out, **kept)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"cannot read '{out / RUN}': {reason(error)}; --restart starts again") from None


def _resolved(item: Item, model: "Model", expected: int | str | None) -> Item:
    """The item with its expected class as an index in digits. Raises OptionError that names the file."""
    name = expected if item.expected is None else item.expected
    if name is None:
        return item
    try:
        return item._replace(expected=str(resolve_class(name, model.labels)))
    except OptionError as error:
        raise OptionError(f"{item.path}: {error}") from None


def _sorted(items: Iterator[Item], out: Path) -> Iterator[Item]:
    """The items sorted by name; it keeps sorted pieces in temporary files without a name, and merges them."""
    try:
        with ExitStack() as pieces:  # inside the try: closing a file that could not be written also fails
            sorted_ones = []
            while piece := sorted(islice(items, _PIECE), key=attrgetter("name")):
                file: IO[str] = pieces.enter_context(tempfile.TemporaryFile("w+", dir=out))
                file.writelines(json.dumps(item) + "\n" for item in piece)
                file.seek(0)
                sorted_ones.append(map(item_of, file))
            yield from heapq.merge(*sorted_ones, key=attrgetter("name"))
    except OSError as error:
        raise OutputError(f"cannot write into '{out}': {reason(error)}") from None


def _merged(items: Iterable[Item], left_out: LeftOut) -> Iterator[Item]:
    """Merge items of the same name into one; count lines that add nothing. Raises OptionError for two classes."""
    for _, group in groupby(items, key=attrgetter("name")):
        first, *others = group
        expected = {item.expected for item in (first, *others)} - {None}
        if len(expected) > 1:
            raise OptionError(
                f"{first.path} is listed with {len(expected)} classes; an image can have only one expected class"
            )
        targets = dict.fromkeys(first.targets)
        for item in others:
            if set(item.targets) <= targets.keys():
                left_out.add(AGAIN, item.file)
            targets |= dict.fromkeys(item.targets)
        yield first._replace(targets=tuple(targets), expected=next(iter(expected), None))


def item_of(line: str | bytes) -> Item:
    """Read an item from a line of the plan."""
    name, path, targets, *more = json.loads(line)
    return Item(name, path, tuple(targets), *more)
