"""From a photograph to the network's input: a box of its pixels resampled, then normalised."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from camserve.errors import ImageError
from camserve.geometry.frame import Frame
from camserve.images.reading import Photo
from camserve.models.card import Input

Float32 = npt.NDArray[np.float32]

# Photographs of at most so many pixels are resampled by torch, which needs a copy of them.
_COPIED = 2**20
# Pillow's filters that torch has too: the same weights with vector instructions, 4 times as fast.
_IN_TORCH = ("bilinear", "bicubic")


def to_input(photo: Photo, frame: Frame, spec: Input) -> torch.Tensor:
    """The network's input, float32 (1, c, h, w): the frame's box resampled, then (value - mean) / std."""
    if spec.bands is not None:
        return _normalised(_bands(photo, frame, spec), spec)
    image = photo.image.convert("L") if spec.channels == "L" else photo.image
    small = _resampled(image, frame, spec.resample)
    if spec.channels == "BGR":
        small = small[::-1]
    return _normalised(np.ascontiguousarray(small, dtype=np.float32), spec)


def plain(spec: Input, side: int, level: int) -> Photo:
    """A photo of one value, 0..255, for trying out a model."""
    bands = None if spec.bands is None else np.full((side, side, spec.samples), level, np.uint8)
    return Photo(Image.new("RGB", (side, side), (level, level, level)), "plain", "array", bands=bands)


def _normalised(planes: Float32, spec: Input) -> torch.Tensor:
    """(c, h, w), written into, as (1, c, h, w)."""
    planes -= np.array(spec.mean, np.float32)[:, None, None]
    planes /= np.array(spec.std, np.float32)[:, None, None]
    return torch.from_numpy(planes[None])


def _bands(photo: Photo, frame: Frame, spec: Input) -> Float32:
    """The bands of a picture, (c, h, w), unrounded. Raises ImageError where it was read without them."""
    values = np.asarray(photo.image) if photo.bands is None else photo.bands
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


def _resampled(image: Image.Image, frame: Frame, filter: str) -> npt.NDArray[np.uint8]:
    """(3, h, w), of grey (1, h, w).

    Torch and Pillow differ by 1 in about one value of 200, where rounding falls the other way.
    """
    size = frame.input
    if frame.sees_all and size == image.size:
        return _planes(np.asarray(image))
    if frame.sees_all and filter in _IN_TORCH and image.width * image.height <= _COPIED:
        planes = torch.from_numpy(_planes(np.array(image)))[None]
        return functional.interpolate(planes, size[::-1], mode=filter, antialias=True)[0].numpy()
    small = image.resize(size, Image.Resampling[filter.upper()], box=frame.box)
    return _planes(np.asarray(small))


def _planes(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, c) or (H, W) as (c, H, W), without a copy."""
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
