"""What a run is to do, written down before it starts: so that it can go on after anything.

OUT/inputs.jsonl has one line an image, sorted by name; OUT/run.json, written last, what the results depend on. Sorted
in pieces, so that memory does not grow with the number of images.
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
    """A run's inputs. count: images. ignored: files that are not named like images. labelled: whether any image's
    class is known. targets: the most that a table asks of one image. facts: what results depend on.
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
        """The inputs in order, from number `first` on. Raises OutputError where the plan cannot be read."""
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
    """Sort `items` into OUT and say what the run depends on. A file that is listed twice is one item.

    expected: the class of items that say none. Class names become indices of `model`. left_out: what `items` has told,
    to be kept. clear: removes what an earlier run wrote, once all items are known to be good. Raises OptionError where
    there are no items, or a class is unknown.
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
        for old in (RUN, RESULTS):  # from here on nothing of an earlier run counts as this one's
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
    """The items as a plan has them: sorted by name, one a name, classes as indices. Raises OptionError, OutputError.

    out: for files without a name, since there may be more than fit into memory. expected, left_out: as for `make_plan`.
    """
    return _merged(_sorted((_resolved(item, model, expected) for item in items), out), left_out or LeftOut())


def read_plan(out: Path) -> Plan | None:
    """The plan of the run in OUT, None where there is none. Raises OutputError where it cannot be read."""
    try:
        with open_file(out / RUN) as file:
            kept = json.load(file)
        if not isinstance(kept["count"], int) or not isinstance(kept["facts"], dict):
            raise ValueError("it is no plan")
        return Plan(out=out, **kept)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"cannot read '{out / RUN}': {reason(error)}; --restart starts again") from None


def _resolved(item: Item, model: "Model", expected: int | str | None) -> Item:
    """With the expected class as an index in digits. Raises OptionError naming the file."""
    name = expected if item.expected is None else item.expected
    if name is None:
        return item
    try:
        return item._replace(expected=str(resolve_class(name, model.labels)))
    except OptionError as error:
        raise OptionError(f"{item.path}: {error}") from None


def _sorted(items: Iterator[Item], out: Path) -> Iterator[Item]:
    """By name, in pieces that are kept in files without a name."""
    try:
        with ExitStack() as pieces:  # closed in here, as a file that could not be written cannot be closed either
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
    """One item a name; others that ask for nothing else are counted. Raises OptionError where it shows two classes."""
    for _, group in groupby(items, key=attrgetter("name")):
        first, *others = group
        expected = {item.expected for item in (first, *others)} - {None}
        if len(expected) > 1:
            raise OptionError(f"{first.path} is listed with {len(expected)} classes; an image can be said to show one")
        targets = dict.fromkeys(first.targets)
        for item in others:
            if set(item.targets) <= targets.keys():
                left_out.add(AGAIN, item.file)
            targets |= dict.fromkeys(item.targets)
        yield first._replace(targets=tuple(targets), expected=next(iter(expected), None))


def item_of(line: str | bytes) -> Item:
    """An item from its line of the plan."""
    name, path, targets, *more = json.loads(line)
    return Item(name, path, tuple(targets), *more)
