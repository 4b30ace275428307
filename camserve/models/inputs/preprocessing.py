"""From a photograph to the network's input: resample a box of its pixels, then normalise."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.errors import ImageError
from camserve.geometry.frame import Frame
from camserve.images.arrays.resampling import FILTERS, resample
from camserve.images.reading import Photo
from camserve.models.card import Input

if TYPE_CHECKING:
    import torch

Float32 = npt.NDArray[np.float32]


def to_input(photo: Photo, frame: Frame, spec: Input) -> "torch.Tensor":
    """The network's input, float32 (1, c, h, w): the frame's box resampled, then (value - mean) / std."""
    import torch

    return torch.from_numpy(to_array(photo, frame, spec))


def to_array(photo: Photo, frame: Frame, spec: Input) -> Float32:
    """`to_input` as an array, without torch."""
    if spec.bands is not None:
        return _normalised(_bands(photo, frame, spec), spec)
    frame = frame if photo.whole is None else frame.resized(photo.drafted)
    values = np.array(photo.image.convert("L")) if spec.channels == "L" else photo.pixels
    small = _resampled(values, frame, spec) if spec.resize is None else _as_stated(values, frame, spec)
    if spec.channels == "BGR":
        small = small[::-1]
    return _normalised(np.ascontiguousarray(small, dtype=np.float32), spec)


def plain(spec: Input, side: int, level: int) -> Photo:
    """A photo of one value, 0..255, to try a model."""
    bands = None if spec.bands is None else np.full((side, side, spec.samples), level, np.uint8)
    return Photo(np.full((side, side, 3), level, np.uint8), "plain", "array", bands=bands)


def _normalised(planes: Float32, spec: Input) -> Float32:
    """Normalise (c, h, w) in place, and return it as (1, c, h, w)."""
    planes -= np.array(spec.mean, np.float32)[:, None, None]
    planes /= np.array(spec.std, np.float32)[:, None, None]
    return planes[None]


def _bands(photo: Photo, frame: Frame, spec: Input) -> Float32:
    """The bands of a picture, (c, h, w), unrounded. Raises ImageError if it was read without bands."""
    values = photo.pixels if photo.bands is None else photo.bands
    if values.shape[2] < spec.samples:
        raise ImageError(
            f"{photo.name!r} was read as an ordinary picture; this model takes bands, so give the file or the array "
            "itself, or read it with camserve.explain.open_photo(model, image)"
        )
    planes = np.empty((spec.count, *frame.input[::-1]), np.float32)
    for plane, band in zip(planes, spec.bands or (), strict=True):
        one = values[..., band].astype(np.float32)
        if not (frame.sees_all and frame.input == frame.original):
            small = Image.fromarray(one).resize(frame.input, Image.Resampling[spec.resample.upper()], box=frame.box)
            one = np.asarray(small)
        plane[:] = one
    return planes


def _resampled(values: npt.NDArray[np.uint8], frame: Frame, spec: Input) -> npt.NDArray[np.uint8]:
    """(H, W, 3) -> (3, h, w), or grey (H, W) -> (1, h, w).

    "fast" and Pillow differ by 1 in about one value of 200, because they round differently.
    """
    size, filter = frame.input, spec.resample
    if frame.sees_all and size == values.shape[1::-1]:
        return _planes(values)
    if spec.resampler == "fast" and filter in FILTERS:
        return _planes(resample(values, size, filter, frame.box))
    small = Image.fromarray(values).resize(size, Image.Resampling[filter.upper()], box=frame.box)
    return _planes(np.asarray(small))


def _as_stated(values: npt.NDArray[np.uint8], frame: Frame, spec: Input) -> npt.NDArray[np.uint8]:
    """As `_resampled`, with the steps of the frame and the library that the card's `resize` names."""
    assert spec.resize is not None
    whole = values
    if frame.alone:
        left, top, right, bottom = map(int, frame.box)
        values = values[top:bottom, left:right]
    if not frame.alone and not frame.sees_all and not frame.through:
        return _resampled(whole, frame, spec)
    is_cut = frame.through and not frame.sees_all
    for size in frame.through if is_cut else (*frame.through, frame.input):
        values = _made(values, size, spec.resample, by_torch=spec.resize.like != "torchvision")
    return _planes(_window(values, frame) if is_cut else values)


def _made(
    values: npt.NDArray[np.uint8], size: tuple[int, int], filter: str, *, by_torch: bool
) -> npt.NDArray[np.uint8]:
    """Resize a picture (H, W) or (H, W, c) to `size` (w, h)."""
    if size == values.shape[1::-1]:
        return values
    if not by_torch:
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling[filter.upper()]))
    if filter in FILTERS:
        return resample(values, size, filter)
    import torch
    from torch.nn import functional

    planes = torch.from_numpy(np.array(_planes(values)))[None]
    made = functional.interpolate(planes, size[::-1], mode=filter, antialias=True)[0].numpy()
    return made[0] if values.ndim == 2 else made.transpose(1, 2, 0)


def _window(values: npt.NDArray[np.uint8], frame: Frame) -> npt.NDArray[np.uint8]:
    """Cut the frame's input out of the resized photograph; black beyond its edges."""
    left, top = frame.corner
    (width, height), (across, down) = frame.input, frame.through[-1]
    made = np.zeros((height, width, *values.shape[2:]), values.dtype)
    inside = values[max(top, 0) : min(top + height, down), max(left, 0) : min(left + width, across)]
    made[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    return made


def _planes(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, c) or (H, W) -> (c, H, W), without a copy."""
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
