"""The preprocessing of a transformers processor, as fields of a card.

Each class of processor has its own arithmetic. Its settings give candidates. To find the right one, the processor
prepares a few pictures: a candidate counts only if it prepares all of them in the same way. So camserve needs no table
of classes, and it refuses a processor that no candidate describes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from camserve.errors import ModelError
from camserve.images.reading import Photo
from camserve.models.card_input import Input
from camserve.models.inputs.preprocessing import to_input

Pixels = npt.NDArray[np.uint8]

FILES = ("preprocessor_config.json", "processor_config.json")
_FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic", "lanczos": "lanczos", "bilinear": "bilinear"}
_FILTERS |= {"bicubic": "bicubic"}
# (w, h) of the pictures: square, wide, high, odd, small and large.
_SIZES = ((300, 300), (333, 250), (250, 391), (601, 300), (97, 61), (541, 760))
# Two preparations of a picture are equal if they differ by less, in units of 0..255. Another rounding differs by 1.
_SAME = 0.02
# Settings that few processors have. An error names those that are on.
_RARE = (
    "do_color_quantize", "do_align_long_axis", "do_thumbnail", "do_pan_and_scan", "do_grayscale", "do_pad",
    "max_num_patches", "do_reduce_labels",
)  # fmt: skip


def input_of(processor: Any, folder: Path) -> dict[str, Any]:
    """The fields of `camserve.models.card.Input` that say what an image processor does.

    Raises ModelError, which names the settings, if a card cannot describe the processor.
    """
    pictures = [_picture(size) for size in _SIZES]
    try:
        answers = [_prepared(processor, picture) for picture in pictures]
        scale = _scale(processor)
    except Exception as error:  # any error for pictures that other processors accept
        raise ModelError(f"{_about(processor, folder)}: {error}") from None
    sides = answers[0].shape[1:]
    for way in _ways(processor, sides):
        try:
            spec = Input(**scale, **way)
        except ValidationError:
            continue
        if all(_is_alike(spec, picture, answer) for picture, answer in zip(pictures, answers, strict=True)):
            return {**scale, **way, "resize": spec.resize}
    raise ModelError(_about(processor, folder))


def _about(processor: Any, folder: Path) -> str:
    """The error message for a processor that no card describes."""
    rare = [f"{key} = {getattr(processor, key)}" for key in _RARE if getattr(processor, key, None)]
    usual = [f"{key} = {_plain(getattr(processor, key))}" for key in ("size", "resample") if _has(processor, key)]
    return (
        f"the {type(processor).__name__} of '{folder}' prepares pictures in a way that camserve cannot repeat "
        f"({', '.join(rare or usual)}); state the input yourself: size=, mean=, std= in units of 0..255, crop=, "
        "channels=, resample="
    )


def _plain(value: Any) -> Any:
    """A setting as in its file, without empty fields."""
    return {key: one for key, one in vars(value).items() if one} if hasattr(value, "__dict__") else value


def _has(processor: Any, key: str) -> bool:
    return getattr(processor, key, None) is not None


def _picture(size: tuple[int, int]) -> Pixels:
    """Noise (h, w, 3) of several grains, the same each time."""
    width, height = size
    random = np.random.default_rng(width)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(size)
    noise = random.integers(-60, 61, (height, width, 3))
    return np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)


def _prepared(processor: Any, picture: Pixels) -> npt.NDArray[np.float32]:
    """The processor's output for a picture, (3, h, w). Raises ModelError if it is not an image."""
    found = processor(images=Image.fromarray(picture), return_tensors="pt")
    values = found.get("pixel_values")
    if values is None or values.ndim != 4 or values.shape[:2] != (1, 3):
        what = ", ".join(f"{key} {tuple(np.shape(value))}" for key, value in found.items())
        raise ModelError(f"it makes {what} of one, not an image (1, 3, h, w)")
    prepared: npt.NDArray[np.float32] = values[0].float().numpy()
    return prepared


def _scale(processor: Any) -> dict[str, Any]:
    """channels, mean and std, from the outputs for black, red, green and blue."""
    plain = np.zeros((4, 300, 300, 3), np.uint8)
    for channel in range(3):
        plain[channel + 1, ..., channel] = 255
    seen = [_prepared(processor, picture) for picture in plain]
    middle = np.array([values[:, values.shape[1] // 2, values.shape[2] // 2] for values in seen], np.float64)
    black, moves = middle[0], middle[1:] - middle[0]  # moves: by channel of the picture, then of the input
    order = np.abs(moves).argmax(0).tolist()
    reach = moves[order, range(3)]
    rest = np.abs(moves).sum() - np.abs(reach).sum()
    if order not in ([0, 1, 2], [2, 1, 0]) or reach.min() <= 0 or rest > 1e-4 * reach.max():
        raise ModelError("its channels are neither RGB nor BGR, each by itself")
    std = 255 / reach
    return {
        "channels": "RGB" if order == [0, 1, 2] else "BGR",
        "mean": tuple(map(_rounded, 0.0 - black * std)),
        "std": tuple(map(_rounded, std)),
    }


def _rounded(value: float) -> float:
    """The shortest number that is equal up to the rounding of float32."""
    value = float(value) + 0.0  # no minus zero
    return next((short for digits in range(6) if abs((short := round(value, digits)) - value) < 2e-5), value)


def _ways(processor: Any, sides: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Sizes, crops and resamplings that the settings may mean, likeliest first. sides: (h, w) of a prepared square."""
    resample = getattr(processor, "resample", 2)
    filter = _FILTERS.get(getattr(resample, "value", resample))
    if filter is None:
        return
    size, crop_size = getattr(processor, "size", None), getattr(processor, "crop_size", None)
    short, height, width = (getattr(size, key, None) for key in ("shortest_edge", "height", "width"))
    share = getattr(processor, "crop_pct", None)
    shorts = [getattr(processor, "resize_short", None), short]
    shorts += [int(side / share) for side in (short, height) if side and share]
    shorts += [int(256 / 224 * short)] if short else []
    squeezed = [(height, width)] if height and width else [(short, short)] if short else []
    multiple = getattr(processor, "size_divisor", None) or 1
    found: list[dict[str, Any]] = [{"sides": pair} for pair in squeezed]
    for like in ("transformers", "paddle"):
        for side in dict.fromkeys(side for side in shorts if side):
            way = {"short": side, "multiple": multiple, "like": like}
            found += [way, {**way, "cut": "none"}]
    if height and width:
        found.append({"short": min(height, width), "within": (height, width)})
    found += [{}, {"cut": "none"}]
    common = {"size": tuple(map(int, sides)), "resample": filter}
    for resize in found:
        yield {**common, "crop": _share_of(resize, sides), "resize": resize}
    if height and (before := getattr(crop_size, "height", None)):
        yield {**common, "crop": height / before, "resize": {"cut": "first"}}


def _share_of(resize: dict[str, Any], sides: Sequence[int]) -> float:
    """Roughly the same crop as a share of the short side."""
    whole = resize.get("short") or min(resize.get("sides", sides))
    return float(round(min(1.0, min(sides) / whole), 6))


def _is_alike(spec: Input, picture: Pixels, answer: npt.NDArray[np.float32]) -> bool:
    photo = Photo(picture, "picture", "array")
    frame = spec.evaluation(photo.size)
    if frame.input != answer.shape[:0:-1]:
        return False
    made = to_input(photo, frame, spec)[0].numpy()
    return bool((np.abs(made - answer).max((1, 2)) * np.array(spec.std)).max() < _SAME)
