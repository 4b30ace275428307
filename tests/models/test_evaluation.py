"""A photograph resized as a whole, then cut: the sizes and corners of other libraries, and where cells then lie."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from camserve.geometry.frame import Frame, Placement
from camserve.images.reading import Photo
from camserve.models.card_input import Input
from camserve.models.inputs.preprocessing import to_input


def plain(size: int | tuple[int, int], resize: dict[str, object], resample: str = "bilinear") -> Input:
    """An input that is the photograph's own values."""
    values = {"size": size, "resize": resize, "resample": resample, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return Input.model_validate(values)


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(width).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def made(image: Image.Image, spec: Input) -> torch.Tensor:
    photo = Photo(np.array(image), "picture", "array")
    return to_input(photo, spec.evaluation(photo.size), spec)[0]


@pytest.mark.parametrize("size", [(301, 200), (200, 333), (64, 64), (90, 50), (1400, 1001)])
def test_torchvision_s_transform_of_a_picture_to_the_bit(size: tuple[int, int]) -> None:
    spec = plain(64, {"short": 73, "like": "torchvision"})
    own = v2.Compose([v2.Resize(73), v2.CenterCrop(64), v2.PILToTensor()])
    image = picture(*size)
    assert torch.equal(made(image, spec), own(image).float())


@pytest.mark.parametrize("size", [(301, 200), (40, 90)])
def test_a_crop_larger_than_the_photograph_is_black_beyond(size: tuple[int, int]) -> None:
    spec = plain((75, 64), {"short": 51, "like": "torchvision"})
    own = v2.Compose([v2.Resize(51), v2.CenterCrop((75, 64)), v2.PILToTensor()])
    image = picture(*size)
    assert torch.equal(made(image, spec), own(image).float())


def test_a_cell_lies_where_the_photograph_was_cut() -> None:
    """A white spot of the photograph is found at the place that its frame says, whichever way it is resized."""
    ways: list[dict[str, object]] = [
        {"short": 80}, {"short": 40}, {"sides": (90, 70)}, {"cut": "first"}, {"short": 64, "within": 64},
        {"short": 60, "multiple": 32, "cut": "none"}, {},
    ]  # fmt: skip
    spot = 171, 89
    values = np.zeros((180, 340, 3), np.uint8)
    values[spot[1] - 6 : spot[1] + 7, spot[0] - 6 : spot[0] + 7] = 255
    for way in ways:
        spec = plain(64, way)
        frame = spec.evaluation((340, 180))
        seen = made(Image.fromarray(values), spec)[0]
        y, x = (float((seen.sum(1 - axis) * torch.arange(seen.shape[axis])).sum() / seen.sum()) for axis in (0, 1))
        placed = Placement(frame, frame.input, (1.0, 1.0), (0.0, 0.0)).cell_centre(x, y)
        assert placed == pytest.approx(spot, abs=0.6), way


def test_squeezed_frames_are_those_of_the_whole_photograph() -> None:
    """So an explanation of the whole needs no second pass for the model's own answer."""
    assert plain(64, {"sides": 64}).evaluation((300, 200)) == Frame((300, 200), (0, 0, 300, 200), (64, 64))
    assert plain(64, {"short": 64}).evaluation((64, 64)) == Frame((64, 64), (0, 0, 64, 64), (64, 64))


def test_large_photographs_are_resampled_by_the_same_library() -> None:
    buffer = BytesIO()
    picture(1500, 900).save(buffer, "png")
    image = Image.open(buffer).convert("RGB")
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    own = v2.functional.resize(planes, [64, 64], v2.InterpolationMode.BICUBIC)
    spec = plain(64, {"sides": 64}, "bicubic")
    assert torch.equal(made(image, spec), own.float())
