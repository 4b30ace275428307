"""How large an overlay is painted: as large as its photograph, or smaller if the setting render.max_side says so."""

from typing import Any

Size = tuple[int, int]


def overlay_size(photo: Size, max_side: int) -> Size:
    """Return (w, h) of the overlay of a photograph of (W, H) pixels, with the same proportions to a pixel.

    max_side: the longest allowed side, in pixels; 0: no limit.
    """
    longest = max(photo)
    if not max_side or longest <= max_side:
        return photo
    width, height = (max(1, round(side * max_side / longest)) for side in photo)
    return width, height


def overlay_facts(photo: Size, max_side: int) -> dict[str, Any]:
    """Return for JSON `overlay`, its size and its scale relative to the photograph, if it is painted smaller."""
    size = overlay_size(photo, max_side)
    if size == photo:
        return {}
    return {"overlay": {"width": size[0], "height": size[1], "scale": max(size) / max(photo)}}
