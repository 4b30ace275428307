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
