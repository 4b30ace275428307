"""From a photograph to the network's input: a box of its pixels resampled, then normalised."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from camserve.geometry.frame import Frame
from camserve.images.reading import Photo
from camserve.models.card import Input

# Photographs of at most so many pixels are resampled by torch, which needs a copy of them.
_COPIED = 2**20
# Pillow's filters that torch has too: the same weights with vector instructions, 4 times as fast.
_IN_TORCH = ("bilinear", "bicubic")


def to_input(photo: Photo, frame: Frame, spec: Input) -> torch.Tensor:
    """The network's input, float32 (1, c, h, w): the frame's box resampled, then (value - mean) / std."""
    image = photo.image.convert("L") if spec.channels == "L" else photo.image
    small = _resampled(image, frame, spec.resample)
    if spec.channels == "BGR":
        small = small[::-1]
    planes = np.ascontiguousarray(small, dtype=np.float32)
    planes -= np.array(spec.mean, np.float32)[:, None, None]
    planes /= np.array(spec.std, np.float32)[:, None, None]
    return torch.from_numpy(planes[None])


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
