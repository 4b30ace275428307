"""Greys of a DICOM frame: values of the modality, such as Hounsfield units, and which of them are black and white.

Numbers are those of DICOM PS3.3: C.11.1 (values of the modality), C.11.2 (the window of interest).
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
    """A grey image of a frame (H, W), and what is to be said: the window that was used, and whether white is lowest.

    inverted: whether the lowest values are white (MONOCHROME1).
    """
    image = Image.new("L", values.shape[::-1])
    shown, notes = _window(values, dataset)
    for box in strips(image.size):
        grey = np.clip(np.rint(shown(values[box[1] : box[3]])), 0, 255).astype(np.uint8)
        image.paste(Image.fromarray(255 - grey if inverted else grey), box)
    return image, [*notes, *(["its lowest values are white (MONOCHROME1)"] if inverted else [])]


def _window(values: npt.NDArray[Any], dataset: Any) -> tuple[Callable[[npt.NDArray[Any]], _Floats], list[str]]:
    """What makes greys 0 to 255 of stored values, and what is to be said of it."""
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

        return by_table, ["the DICOM file's own table of greys (VOI LUT) says which values are black and white"]
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
        f"no DICOM window in the file: its values from {low:g} (black) to {high:g} (white) are shown, between which "
        "nearly all lie; another picture of its series may be shown otherwise"
    )
    return (lambda stored: (meant(stored).astype(np.float64) - low) * (255 / ((high - low) or 1))), [note]


def _table(item: Any) -> tuple[int, _Floats]:
    """The value that the first entry of a table of greys is for, and the greys, 0 to 255, of it and those that follow.

    PS3.3 C.11.2.1.1: a descriptor (entries, 0 for 65536; first value; bits of an entry), and the entries, of 8 bits
    packed as bytes. pydicom 3.0.2 looks values up in the table's own 8 or 16 bits, which wraps those beyond them.
    """
    count, first, bits = (int(one) for one in item.LUTDescriptor)
    count, data = count or 2**16, item.LUTData
    if isinstance(data, bytes | bytearray):
        order = ">" if item.is_little_endian is False else "<"
        packed = bits <= 8 and len(data) - count in (0, 1)  # an odd number of bytes is made even
        entries = np.frombuffer(data, np.uint8 if packed else f"{order}u2")
    else:
        entries = np.asarray(data, np.int64)
    if len(entries) < count:
        raise ValueError(f"a table of greys of {count} entries has {len(entries)}")
    return first, entries[:count].astype(np.float64) * (255 / (2.0**bits - 1))


def _linear(x: _Floats, c: float, w: float) -> _Floats:
    """y = (x - (c - 0.5)) / (w - 1) + 0.5, black at x <= c - 0.5 - (w - 1) / 2, white from its other end on."""
    if w == 1:
        return (x > c - 0.5).astype(np.float64)
    return np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)


def _linear_exact(x: _Floats, c: float, w: float) -> _Floats:
    """y = (x - c) / w + 0.5, black at x <= c - w / 2, white from x > c + w / 2 on."""
    return np.clip((x - c) / w + 0.5, 0, 1)


def _sigmoid(x: _Floats, c: float, w: float) -> _Floats:
    """y = 1 / (1 + exp(-4 (x - c) / w))."""
    found: _Floats = 1 / (1 + np.exp(np.clip(-4 * (x - c) / w, -700, 700)))
    return found


_FUNCTIONS = {"LINEAR": _linear, "LINEAR_EXACT": _linear_exact, "SIGMOID": _sigmoid}  # PS3.3 C.11.2.1.2, C.11.2.1.3


def _part(dataset: Any, macro: str, key: str) -> Any:
    """The dataset that has a key: that of the first frame, what all frames share, or the file's own."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(dataset.get(groups) or [])[:1]:
            for found in list(group.get(macro) or [])[:1]:
                if key in found:
                    return found
    return dataset


def _numbers(dataset: Any, key: str) -> list[float]:
    """The numbers of a key, one or several; none where there is none or what stands there is no number."""
    value = dataset.get(key)
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        found = [float(each) for each in several]
    except (TypeError, ValueError):
        return []
    return found if np.isfinite(found).all() else []


def _is_as_stored(dataset: Any, scale: Any) -> bool:
    """Whether the values of the modality are those that are stored."""
    slope, intercept = _numbers(scale, "RescaleSlope"), _numbers(scale, "RescaleIntercept")
    return "ModalityLUTSequence" not in dataset and slope in ([], [1.0]) and intercept in ([], [0.0])


def _without_padding(values: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """Of a frame the pixels that are no padding around the picture, (1, n), if there are any."""
    padding = dataset.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return values
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((padding, limit if isinstance(limit, int) else padding))
    kept = values[(values < low) | (values > high)][None]
    return kept if kept.size else values
