"""Where the object of each image is: reads the user's boxes or masks."""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camserve.datasets.inputs import IMAGE_ENDINGS, Item
from camserve.datasets.scratch import scratch
from camserve.datasets.tables import read_table
from camserve.errors import OptionError
from camserve.images.reading import Photo

_COLUMNS = ("left", "top", "right", "bottom")


def check_objects(source: Path) -> None:
    """Raise OptionError if `source` is neither a folder nor a table of boxes whose first line can be read."""
    if _is_file(source):
        with closing(_boxes_in(source)) as boxes:
            next(boxes, None)
    elif not os.path.isdir(source):  # noqa: PTH112 - False if it cannot be read, as in _is_file
        raise OptionError(f"'{source}' is neither a .csv table of boxes nor a folder of masks")


class Objects:
    """Looks up the objects of an image, by its path as given or by its name in the batch; any thread may call it.

    source: a table (.csv) with the columns file, left, top, right, bottom in pixels of the upright original, one box
    per line; or a folder with one mask per photograph. A mask has the photograph's name, with any image ending, and is
    white where the object is. read: opens a mask. Raises OptionError if the source is neither, or a line cannot be
    read.
    """

    def __init__(self, source: Path, read: Callable[[Path], Photo]) -> None:
        self.source, self._read = source, read
        self._boxes: sqlite3.Connection | None = None
        self._lock, self._held = threading.Lock(), ExitStack()
        check_objects(source)
        if _is_file(source):
            with ExitStack() as held:
                self._boxes = held.enter_context(scratch("boxes (file, left, top, right, bottom)"))
                self._boxes.executemany("INSERT INTO boxes VALUES (?, ?, ?, ?, ?)", _boxes_in(source))
                self._boxes.execute("CREATE INDEX by_file ON boxes (file)")
                self._held = held.pop_all()

    def close(self) -> None:
        """Close the table."""
        self._held.close()

    def inside(
        self, item: Item, size: tuple[int, int], shape: tuple[int, ...], step: int
    ) -> npt.NDArray[np.bool_] | None:
        """Return whether each sampled pixel of a photograph belongs to an object; None if the objects are not known.

        size: (W, H) of the photograph. shape: (h, w) of the sample. step: it has every `step`-th pixel. Raises
        ImageError, OptionError.
        """
        if self._boxes is None:
            return self._mask(item.name, size, shape, step)
        with self._lock:
            boxes = self._boxes.execute("SELECT * FROM boxes WHERE file IN (?, ?)", (item.name, item.file)).fetchall()
        if not boxes:
            return None
        inside = np.zeros(shape, bool)
        y, x = (np.arange(length) * step + step // 2 + 0.5 for length in shape)
        for _, left, top, right, bottom in boxes:
            inside |= ((top <= y) & (y < bottom))[:, None] & ((left <= x) & (x < right))
        return inside

    def _mask(
        self, name: str, size: tuple[int, int], shape: tuple[int, ...], step: int
    ) -> npt.NDArray[np.bool_] | None:
        path = self.source / name
        found = next((path.with_suffix(end) for end in sorted(IMAGE_ENDINGS) if _is_file(path.with_suffix(end))), None)
        if found is None:
            return None
        mask = self._read(found).image
        if mask.size != size:
            raise OptionError(
                f"the mask '{found}' is {mask.width} x {mask.height}, but its photograph is {size[0]} x "
                f"{size[1]}; both must have the same size"
            )
        white = np.asarray(mask.convert("L")) >= 128
        y, x = (np.minimum(np.arange(n) * step + step // 2, m - 1) for n, m in zip(shape, white.shape, strict=True))
        picked: npt.NDArray[np.bool_] = white[np.ix_(y, x)]
        return picked


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - also False if it cannot be read


def _boxes_in(path: Path) -> Generator[tuple[str, float, float, float, float]]:
    for number, row in read_table(path, ("file", *_COLUMNS)):
        yield row["file"].strip(), *_edges(row, path, number)


def _edges(row: dict[str, str], path: Path, line: int) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(row[column]) for column in _COLUMNS)
    except (TypeError, ValueError):
        raise OptionError(f"'{path}', line {line}: {', '.join(_COLUMNS)} must be numbers, in pixels") from None
    if not (left < right and top < bottom):
        raise OptionError(f"'{path}', line {line}: left must be less than right and top less than bottom")
    return left, top, right, bottom
