"""Arrays as .npy files, whole or in pieces."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.render.painting import Rows, strips


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npy_in_pieces(rows: Rows, size: tuple[int, int]) -> Iterator[bytes]:
    """Yield the result of `rows`, float32 (H, W), as the bytes of a .npy file in pieces. size: (W, H)."""
    (width, height), header = size, BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (height, width)})
    yield header.getvalue()
    for first, last in strips(size):
        yield rows(first, last).astype("<f4", copy=False).tobytes()
