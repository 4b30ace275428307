"""results.jsonl: one line an image in the order of the plan, each whole or not there."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from camserve.catalogue.run_files import INPUTS, RESULTS, RUN
from camserve.errors import OptionError, OutputError
from camserve.system.files import open_file, reason
from camserve.system.folder_lock import in_use, take

# {"file", "name", "status": "ok" or "failed", ...}; docs/cli.md has all fields
Row = dict[str, Any]
# What every row has, and what more where an image was explained and where not.
_FIELDS = {"ok": {"file", "sha256", "predicted", "expected", "explanations"}, "failed": {"file", "error", "code"}}


def name_in(row: Row) -> str:
    """What rows are sorted and joined by: unique in a run. `file` is what people call the image."""
    name: str = row["name"] if "name" in row else row["file"]  # rows of older runs have the one for both
    return name


def read_rows(out: Path) -> Iterator[Row]:
    """The rows of the run in OUT, one by one. Raises OptionError where there is none, or a line is no row."""
    try:
        with open_file(out / RESULTS) as lines:
            for number, line in enumerate(lines, 1):
                yield _row(line, f"'{out / RESULTS}', line {number}")
    except OSError as error:
        raise OptionError(f"'{out}' holds no results of `camserve batch`: {reason(error)}") from None


def read_sources(out: Path) -> Iterator[tuple[Row, str]]:
    """The rows, each with where its image lies: an absolute path, or an address such as s3://...

    Where the plan of the run is gone, `file` is taken for the path. Raises OptionError as `read_rows`.
    """
    with suppress(FileNotFoundError), open_file(out / INPUTS) as lines:
        paths = (str(json.loads(line)[1]) for line in lines)
        yield from ((row, _absolute(path)) for row, path in zip(read_rows(out), paths, strict=False))
        return
    yield from ((row, _absolute(row["file"])) for row in read_rows(out))


def put_items(file: BinaryIO, items: Iterable[Any]) -> None:
    """Write JSON values with commas between, a line each; names that are no UTF-8 keep their bytes as escapes."""
    for place, item in enumerate(items):
        text = json.dumps(item, ensure_ascii=False)
        file.write((",\n" if place else "\n").encode() + text.encode("utf-8", "backslashreplace"))


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100 - it stays as it was given


def _row(line: bytes, where: str) -> Row:
    with suppress(ValueError, TypeError, AttributeError):  # no JSON, no object, a status that is none
        row: Row = json.loads(line)
        if row.keys() >= _FIELDS.get(row.get("status", ""), {""}):
            return row
    raise OptionError(f"{where} is no result; --resume cuts off what a kill left half written")


class Origin(NamedTuple):
    """What a run was made with. model: its name. weights: the first digits of their hash. begun: the day.

    classes: how many the model has, None where the run does not say.
    """

    model: str
    weights: str
    begun: str
    classes: int | None = None

    def __str__(self) -> str:
        classes = "" if self.classes is None else f", {self.classes} classes"
        return f"{self.model}, weights {self.weights}{classes}, begun {self.begun}"


def origin_of(out: Path) -> Origin | None:
    """What the run in OUT was made with; None where it does not say."""
    try:
        model = _run_of(out)["facts"]["model"]
        begun = datetime.fromtimestamp((out / RUN).stat().st_mtime).astimezone()
        classes = model.get("classes")
        return Origin(str(model["name"]), str(model["weights_sha256"])[:12], f"{begun:%Y-%m-%d %H:%M}", classes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def undone(out: Path) -> int:
    """How many images the run in OUT has not come to yet; 0 also where it does not say."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return max(0, int(_run_of(out)["count"]) - whole_rows(out)[0])
    return 0


def _run_of(out: Path) -> dict[str, Any]:
    with open_file(out / RUN) as file:
        kept: dict[str, Any] = json.load(file)
    return kept


class Ledger:
    """Appends rows to OUT/results.jsonl, and never leaves a part of one. A context manager.

    A part that a kill has left is cut off; `count` is how many rows there are. Raises OutputError, also where another
    process has it.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / RESULTS
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write '{self.path}': {reason(error)}") from None
        try:
            if not take(self._file):  # beside the lock on OUT, since this one also holds between machines
                raise in_use(out)
            self.count, self._end = whole_rows(out)
            if os.fstat(self._file).st_size > self._end:  # else a finished run would look as if it had changed
                os.ftruncate(self._file, self._end)
            os.lseek(self._file, 0, os.SEEK_END)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, row: Row) -> None:
        """Write one row. Raises OutputError (disk full) and leaves the rows before it as they were."""
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = os.write(self._file, line)
            while written < len(line):  # a disk that is nearly full takes a part
                written += os.write(self._file, line[written:])
        except OSError as error:
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, 0, os.SEEK_END)
            raise OutputError(f"cannot write '{self.path}': {reason(error)}") from None
        self._end += len(line)
        self.count += 1

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def whole_rows(out: Path) -> tuple[int, int]:
    """The number of whole rows in OUT, and the bytes they take; (0, 0) where there are none.

    Raises OutputError where they cannot be read: whoever took that for none would write over them.
    """
    count, end = 0, 0
    try:
        with open_file(out / RESULTS) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                count, end = count + 1, end + len(line)
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0
    except OSError as error:
        raise OutputError(f"cannot read '{out / RESULTS}': {reason(error)}") from None
    return count, end
