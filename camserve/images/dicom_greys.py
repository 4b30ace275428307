"""Greys of a DICOM frame: the modality's values, such as Hounsfield units, and which of them are black and white.

As in DICOM PS3.3: C.11.1 (the modality's values) and C.11.2 (the window of interest).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.images.arrays.pixel_arrays import strips
from camserve.images.windows import bounds

_Floats = npt.NDArray[np.float64]


def greys(values: npt.NDArray[Any], dataset: Any, *, inverted: bool) -> tuple[Image.Image, list[str]]:
    """A grey image of a frame (H, W), and notes: the window, and whether the lowest values are white.

    inverted: whether the lowest values are white (MONOCHROME1).
    """
    image = Image.new("L", values.shape[::-1])
    shown, notes = _window(values, dataset)
    for box in strips(image.size):
        grey = np.clip(np.rint(shown(values[box[1] : box[3]])), 0, 255).astype(np.uint8)
        image.paste(Image.fromarray(255 - grey if inverted else grey), box)
    return image, [*notes, *(["its lowest values are white (MONOCHROME1)"] if inverted else [])]


def _window(values: npt.NDArray[Any], dataset: Any) -> tuple[Callable[[npt.NDArray[Any]], _Floats], list[str]]:
    """A function from stored values to greys 0 to 255, and notes about it."""
    from pydicom.pixels.processing import apply_modality_lut

    scale = _part(dataset, "PixelValueTransformationSequence", "RescaleSlope")

    def meant(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        numbers: npt.NDArray[Any] = apply_modality_lut(stored, dataset if "ModalityLUTSequence" in dataset else scale)
        return numbers

    if dataset.get("VOILUTSequence"):
        first, greys_of = _table(dataset.VOILUTSequence[0])

        def by_table(stored: npt.NDArray[Any]) -> _Floats:
            found: _Floats = greys_of[np.clip(np.rint(meant(stored)).astype(np.int64) - first, 0, len(greys_of) - 1)]
            return found

        return by_table, ["black and white are those of the DICOM file's own table of greys (VOI LUT)"]
    window = _part(dataset, "FrameVOILUTSequence", "WindowCenter")
    centre, width = _numbers(window, "WindowCenter"), _numbers(window, "WindowWidth")
    function = str(window.get("VOILUTFunction") or "LINEAR").strip().upper()
    if centre and width and width[0] >= (1 if function == "LINEAR" else 1e-9) and function in _FUNCTIONS:
        c, w, curve = centre[0], width[0], _FUNCTIONS[function]
        which = f", the first of {len(centre)}" if len(centre) > 1 else ""
        kind = f" {function}" if function != "LINEAR" else ""
        note = f"DICOM window {c:g}/{w:g}{kind} (centre/width){which}"
        return (lambda stored: 255 * curve(meant(stored).astype(np.float64), c, w)), [note]
    bits = int(dataset.BitsStored) if "BitsStored" in dataset else 0
    if 0 < bits <= 8 and not int(dataset.get("PixelRepresentation") or 0) and _is_as_stored(dataset, scale):
        return (lambda stored: stored * (255 / (2.0**bits - 1))), []
    low, high = bounds(meant(_without_padding(values, dataset)))
    note = (
        f"no DICOM window in the file: its values are shown from {low:g} (black) to {high:g} (white), where nearly all "
        "of them lie; another picture of its series may get other limits"
    )
    return (lambda stored: (meant(stored).astype(np.float64) - low) * (255 / ((high - low) or 1))), [note]


def _table(item: Any) -> tuple[int, _Floats]:
    """The value of the first entry of a table of greys, and the greys 0 to 255 of this and the following values.

    PS3.3 C.11.2.1.1: a descriptor (number of entries, 0 for 65536; first value; bits of an entry) and the entries;
    8-bit entries may be stored as bytes. pydicom 3.0.2 is not used here, because it casts values to the table's 8 or 16
    bits, and larger values wrap.
    """
    count, first, bits = (int(one) for one in item.LUTDescriptor)
    count, data = count or 2**16, item.LUTData
    if isinstance(data, bytes | bytearray):
        order = ">" if item.is_little_endian is False else "<"
        packed = bits <= 8 and len(data) - count in (0, 1)  # files pad an odd number of bytes with one more
        entries = np.frombuffer(data, np.uint8 if packed else f"{order}u2")
    else:
        entries = np.asarray(data, np.int64)
    if len(entries) < count:
        raise ValueError(f"a table of greys of {count} entries has {len(entries)}")
    return first, entries[:count].astype(np.float64) * (255 / (2.0**bits - 1))


def _linear(x: _Floats, c: float, w: float) -> _Floats:
    """y = (x - (c - 0.5)) / (w - 1) + 0.5; black at x <= c - 0.5 - (w - 1) / 2, white at x > c - 0.5 + (w - 1) / 2."""
    if w == 1:
        return (x > c - 0.5).astype(np.float64)
    return np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)


def _linear_exact(x: _Floats, c: float, w: float) -> _Floats:
    """y = (x - c) / w + 0.5; black at x <= c - w / 2, white at x > c + w / 2."""
    return np.clip((x - c) / w + 0.5, 0, 1)


def _sigmoid(x: _Floats, c: float, w: float) -> _Floats:
    """y = 1 / (1 + exp(-4 (x - c) / w))."""
    found: _Floats = 1 / (1 + np.exp(np.clip(-4 * (x - c) / w, -700, 700)))
    return found


_FUNCTIONS = {"LINEAR": _linear, "LINEAR_EXACT": _linear_exact, "SIGMOID": _sigmoid}  # PS3.3 C.11.2.1.2, C.11.2.1.3


def _part(dataset: Any, macro: str, key: str) -> Any:
    """The dataset with the key: of the first frame, else of all frames, else the file's own dataset."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(dataset.get(groups) or [])[:1]:
            for found in list(group.get(macro) or [])[:1]:
                if key in found:
                    return found
    return dataset


def _numbers(dataset: Any, key: str) -> list[float]:
    """The numbers of a key, one or several; an empty list if the key is missing or a value is not a finite number."""
    value = dataset.get(key)
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        found = [float(each) for each in several]
    except (TypeError, ValueError):
        return []
    return found if np.isfinite(found).all() else []


def _is_as_stored(dataset: Any, scale: Any) -> bool:
    """Whether the stored values are already the modality's values."""
    slope, intercept = _numbers(scale, "RescaleSlope"), _numbers(scale, "RescaleIntercept")
    return "ModalityLUTSequence" not in dataset and slope in ([], [1.0]) and intercept in ([], [0.0])


def _without_padding(values: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """The pixels (1, n) of a frame without the padding around the picture; all values if every pixel is padding."""
    padding = dataset.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return values
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((padding, limit if isinstance(limit, int) else padding))
    kept = values[(values < low) | (values > high)][None]
    return kept if kept.size else values
