"""Reads and writes results.jsonl, which has one line per image, in the order of the plan."""

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
# The required keys of rows with each status.
_FIELDS = {"ok": {"file", "sha256", "predicted", "expected", "explanations"}, "failed": {"file", "error", "code"}}


def name_in(row: Row) -> str:
    """The key by which rows are sorted and joined; unique in a run. `file` is the name to show to people."""
    name: str = row["name"] if "name" in row else row["file"]  # rows of older runs have only `file`
    return name


def read_rows(out: Path) -> Iterator[Row]:
    """The rows of the run in OUT, one by one. Raises OptionError if there is no run, or a line is not a row."""
    try:
        with open_file(out / RESULTS) as lines:
            for number, line in enumerate(lines, 1):
                yield _row(line, f"'{out / RESULTS}', line {number}")
    except OSError as error:
        raise OptionError(f"'{out}' holds no results of `camserve batch`: {reason(error)}") from None


def read_sources(out: Path) -> Iterator[tuple[Row, str]]:
    """The rows, each with the place of its image: an absolute path, or an address such as s3://...

    If the plan of the run is missing, `file` is used as the path. Raises OptionError like `read_rows`.
    """
    with suppress(FileNotFoundError), open_file(out / INPUTS) as lines:
        paths = (str(json.loads(line)[1]) for line in lines)
        yield from ((row, _absolute(path)) for row, path in zip(read_rows(out), paths, strict=False))
        return
    yield from ((row, _absolute(row["file"])) for row in read_rows(out))


def put_items(file: BinaryIO, items: Iterable[Any]) -> None:
    """Write JSON values, one per line, separated by commas. Bytes in names that are not UTF-8 are escaped."""
    for place, item in enumerate(items):
        text = json.dumps(item, ensure_ascii=False)
        file.write((",\n" if place else "\n").encode() + text.encode("utf-8", "backslashreplace"))


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100 - does not resolve links


def _row(line: bytes, where: str) -> Row:
    with suppress(ValueError, TypeError, AttributeError):  # not JSON, not an object, or an unknown status
        row: Row = json.loads(line)
        if row.keys() >= _FIELDS.get(row.get("status", ""), {""}):
            return row
    raise OptionError(f"{where} is not a result; --resume removes a line that a kill left incomplete")


class Origin(NamedTuple):
    """How a run was made. model: its name. weights: the first digits of their hash. begun: date and time.

    classes: the number of classes of the model; None if the run does not record it.
    """

    model: str
    weights: str
    begun: str
    classes: int | None = None

    def __str__(self) -> str:
        classes = "" if self.classes is None else f", {self.classes} classes"
        return f"{self.model}, weights {self.weights}{classes}, begun {self.begun}"


def origin_of(out: Path) -> Origin | None:
    """How the run in OUT was made; None if it does not record this."""
    try:
        model = _run_of(out)["facts"]["model"]
        begun = datetime.fromtimestamp((out / RUN).stat().st_mtime).astimezone()
        classes = model.get("classes")
        return Origin(str(model["name"]), str(model["weights_sha256"])[:12], f"{begun:%Y-%m-%d %H:%M}", classes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def undone(out: Path) -> int:
    """The number of images that the run in OUT has not explained yet; 0 if unknown."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return max(0, int(_run_of(out)["count"]) - whole_rows(out)[0])
    return 0


def _run_of(out: Path) -> dict[str, Any]:
    with open_file(out / RUN) as file:
        kept: dict[str, Any] = json.load(file)
    return kept


class Ledger:
    """Appends whole rows to OUT/results.jsonl. A context manager.

    An incomplete row, left by a kill, is removed. `count` is the number of rows. Raises OutputError, also if another
    process is writing the file.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / RESULTS
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write '{self.path}': {reason(error)}") from None
        try:
            if not take(self._file):  # besides the lock on OUT, because this one also works between machines
                raise in_use(out)
            self.count, self._end = whole_rows(out)
            if (
                os.fstat(self._file).st_size > self._end
            ):  # truncating always would change the time stamp of a finished run
                os.ftruncate(self._file, self._end)
            os.lseek(self._file, 0, os.SEEK_END)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, row: Row) -> None:
        """Write one row. Raises OutputError, for example on a full disk, and leaves earlier rows unchanged."""
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = os.write(self._file, line)
            while written < len(line):  # a nearly full disk may accept only a part
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
    """The number of whole rows in OUT, and their size in bytes; (0, 0) if there are none.

    Raises OutputError if the file cannot be read, so that nobody overwrites it.
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
