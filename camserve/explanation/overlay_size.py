"""How large an overlay is painted: as its photograph is, or smaller, where the setting render.max_side says so."""

from typing import Any

Size = tuple[int, int]


def overlay_size(photo: Size, max_side: int) -> Size:
    """(w, h) of the overlay of a photograph of (W, H) pixels; the same proportions, to a pixel.

    max_side: the longest side that it may have, in pixels; 0: any.
    """
    longest = max(photo)
    if not max_side or longest <= max_side:
        return photo
    width, height = (max(1, round(side * max_side / longest)) for side in photo)
    return width, height


def overlay_facts(photo: Size, max_side: int) -> dict[str, Any]:
    """For JSON: `overlay`, its size and its pixels for each of the photograph's, where it is painted smaller."""
    size = overlay_size(photo, max_side)
    if size == photo:
        return {}
    return {"overlay": {"width": size[0], "height": size[1], "scale": max(size) / max(photo)}}
