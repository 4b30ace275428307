"""HEIC (HEIF with HEVC) by pillow-heif: the primary picture.

libheif turns and mirrors the picture as the file's properties say. The standard (ISO/IEC 23008-12) then ignores EXIF's
orientation, and so does camserve. Nothing is registered in Pillow. 10 and 12 bits are scaled to 8 and not cut off.
"""

import io

import numpy as np

from camserve.images.extras import Decoded, missing
from camserve.images.limits import Limits, check_size

_HDR = {16: "PQ", 18: "HLG"}  # ITU-T H.273: transfer curves of high dynamic range (HDR)


def read_heic(data: bytes, name: str, limits: Limits) -> Decoded:
    """Read the primary picture. Raises ImageTypeError without pillow-heif, and its errors for damaged bytes."""
    try:
        import pillow_heif
    except ImportError:
        raise missing(name, "a HEIC picture", "pillow-heif") from None
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    check_size(file.size, repr(name), limits)
    notes = [f"only the primary picture is explained; the file has {len(file) - 1} more"] if len(file) > 1 else []
    curve = _HDR.get(file.info.get("nclx_profile", {}).get("transfer_characteristics"))
    if curve:
        notes.append(
            f"its values are for a screen with high dynamic range ({curve}); they are shown without conversion"
        )
    values = np.asarray(file)  # libheif refuses more pixels than the header says
    values = values if values.ndim == 3 else values[..., None]
    alpha = ("premultiplied" if file.premultiplied_alpha else "straight") if file.has_alpha else None
    colours = values.shape[2] - bool(alpha)
    return Decoded(values, notes, file.info.get("icc_profile"), colours, alpha, int(file.info["bit_depth"]))
