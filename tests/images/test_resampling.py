"""Resampling: torch's bits, by the library and by numpy, at every size."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from camserve.images.arrays import resampling
from camserve.images.arrays.resampling import FILTERS, resample

# From 2 on: torch stops with an error of its own at pictures that are one pixel wide or high.
side = wanted = st.integers(2, 160)
WAYS = ["library", "numpy"]


def by_torch(pixels: Any, size: tuple[int, int], filter: str) -> Any:
    planes = torch.from_numpy(np.atleast_3d(pixels)[..., :3]).permute(2, 0, 1)[None].contiguous()
    made = functional.interpolate(planes, size[::-1], mode=filter, antialias=True)[0].permute(1, 2, 0).numpy()
    return made[..., 0] if pixels.ndim == 2 else made


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(resampling, "resampler", lambda: None)
    elif resampling.resampler() is None:
        pytest.skip("resampler.c was not compiled, or this processor has no AVX2")
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("filter", FILTERS)
def test_bits_are_those_of_torch(filter: str) -> None:
    @settings(max_examples=150, deadline=None, database=None)
    @given(side, side, wanted, wanted, st.sampled_from([1, 3, 4]), st.booleans(), st.integers(0, 2**32 - 1))
    def check(width: int, height: int, wide: int, high: int, colours: int, is_stark: bool, seed: int) -> None:
        draws = np.random.default_rng(seed).integers(0, 2 if is_stark else 256, (height, width, colours))
        pixels = (draws * (255 if is_stark else 1)).astype(np.uint8)
        pixels = pixels[..., 0] if colours == 1 else pixels
        assert np.array_equal(resample(pixels, (wide, high), filter), by_torch(pixels, (wide, high), filter))

    check()


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_sizes_of_photographs(way: str) -> None:
    random = np.random.default_rng(0)
    for width, height in ((500, 400), (1500, 1100), (3000, 17), (5, 2000)):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for filter in FILTERS:
            for size in ((280, 224), (224, 3), (width, 100)):
                assert np.array_equal(resample(pixels, size, filter), by_torch(pixels, size, filter)), way


def test_parts_of_arrays_and_the_same_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    part = pixels[::2, 10:50]
    assert np.array_equal(resample(part, (13, 9), "bicubic"), resample(part.copy(), (13, 9), "bicubic"))
    assert np.array_equal(resample(pixels, (60, 40), "bilinear"), pixels)
    assert resample(pixels[..., 0], (7, 5), "bicubic").shape == (5, 7)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_one_pixel_wide_or_high(way: str, size: tuple[int, int]) -> None:
    line = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    for wide, high in ((224, 224), (3, 30)):
        made = resample(line, (wide, high), "bilinear").astype(int)
        assert made.shape == (high, wide, 3), way
        if size == (1, 1):
            assert np.array_equal(made, np.broadcast_to(line[0, 0], made.shape))
        else:  # the other axis is as of a picture that has every pixel twice there
            axis = 0 if size[0] == 1 else 1
            other = by_torch(np.repeat(line, 2, 1 - axis), (wide, high), "bilinear")
            assert np.array_equal(made, other)


def in_float64(pixels: Any, size: tuple[int, int], filter: str, box: Any) -> Any:
    """A box of pixels resampled with unrounded weights, rounded nowhere on the way."""
    for axis, (start, end) in ((1, box[0::2]), (0, box[1::2])):
        wanted, given = size[1 - axis], pixels.shape[axis]
        step = (end - start) / wanted
        table = np.zeros((wanted, given))
        for i in range(wanted):
            centre = start + (i + 0.5) * step
            away = np.abs(np.arange(given) + 0.5 - centre) / max(step, 1)
            near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
            cubic = np.where(away < 1, near, np.where(away < 2, far, 0))
            table[i] = np.maximum(1 - away, 0) if filter == "bilinear" else cubic
        table /= table.sum(1, keepdims=True)
        pixels = np.moveaxis(np.tensordot(table, pixels, (1, axis)), 0, axis)
    return np.clip(pixels, 0, 255)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("filter", FILTERS)
def test_boxes(way: str, filter: str) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(60, 190, (90, 120, 3), dtype=np.uint8)  # bicubic never leaves 0..255
    for box in ((17.0, 8.0, 93.0, 84.0), (0.25, 10.5, 101.75, 66.0), (5.0, 0.0, 6.5, 90.0), (0, 0, 120, 90)):
        for size in ((56, 56), (13, 70), (150, 9)):
            made = resample(pixels, size, filter, box)
            assert np.abs(made - in_float64(pixels, size, filter, box)).max() < 1.2, (way, box, size)


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_a_box_of_whole_pixels_at_their_own_size_is_cut_out(way: str) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    made = resample(pixels, (20, 12), "bicubic", (33, 7, 53, 19))
    assert np.array_equal(made, pixels[7:19, 33:53]), way


def test_the_library_and_numpy_agree_on_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    if resampling.resampler() is None:
        pytest.skip("resampler.c was not compiled, or this processor has no AVX2")
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (301, 207, 3), dtype=np.uint8)
    asked: list[Any] = []
    for number in range(40):
        (left, right), (top, bottom) = np.sort(random.uniform(0, 207, 2)), np.sort(random.uniform(0, 301, 2))
        size = int(random.integers(1, 300)), int(random.integers(1, 300))
        asked.append((size, FILTERS[number % 2], (left, top, right, bottom)))
    by_library = [resample(pixels, *one) for one in asked]
    monkeypatch.setattr(resampling, "resampler", lambda: None)
    for one, made in zip(asked, by_library, strict=True):
        assert np.array_equal(resample(pixels, *one), made), one
