"""results.jsonl: one line an image in the order of the plan, each whole or not there."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from camserve.errors import OptionError, OutputError

RESULTS = "results.jsonl"
_RUN = "run.json"  # of batch/plan.py: what the run depends on

# {"file", "name", "status": "ok" or "failed", ...}; docs/cli.md has all fields
Row = dict[str, Any]


def name_in(row: Row) -> str:
    """What rows are sorted and joined by: unique in a run. `file` is what people call the image."""
    name: str = row["name"] if "name" in row else row["file"]  # rows of older runs have the one for both
    return name


def read_rows(out: Path) -> Iterator[Row]:
    """The rows of the run in OUT, one by one. Raises OptionError where there is none."""
    try:
        with (out / RESULTS).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    where = f"'{out / RESULTS}', line {number}"
                    raise OptionError(
                        f"{where} is no result; --resume cuts off what a kill left half written"
                    ) from None
    except OSError as error:
        raise OptionError(f"'{out}' holds no results of `camserve batch`: {error.strerror}") from None


class Origin(NamedTuple):
    """What a run was made with. model: its name. weights: the first digits of their hash. begun: the day."""

    model: str
    weights: str
    begun: str

    def __str__(self) -> str:
        return f"{self.model}, weights {self.weights}, begun {self.begun}"


def origin_of(out: Path) -> Origin | None:
    """What the run in OUT was made with; None where it does not say."""
    try:
        model = json.loads((out / _RUN).read_text(encoding="utf-8"))["facts"]["model"]
        begun = datetime.fromtimestamp((out / _RUN).stat().st_mtime).astimezone()
        return Origin(str(model["name"]), str(model["weights_sha256"])[:12], f"{begun:%Y-%m-%d %H:%M}")
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
            raise OutputError(f"cannot write '{self.path}': {error.strerror}") from None
        _claim(self._file, self.path)
        self.count, self._end = whole_rows(out)
        if os.fstat(self._file).st_size > self._end:  # else a finished run would look as if it had changed
            os.ftruncate(self._file, self._end)
        os.lseek(self._file, 0, os.SEEK_END)

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
            raise OutputError(f"cannot write '{self.path}': {error.strerror}") from None
        self._end += len(line)
        self.count += 1

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _claim(file: int, path: Path) -> None:
    """Two runs in one folder would mix their rows; a lock ends with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise OutputError(f"'{path}' is being written by another run; wait for it, or give another OUT") from None


def whole_rows(out: Path) -> tuple[int, int]:
    """The number of whole rows in OUT, and the bytes they take; (0, 0) where there are none."""
    count, end = 0, 0
    try:
        with (out / RESULTS).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                count, end = count + 1, end + len(line)
    except OSError:
        return 0, 0
    return count, end
