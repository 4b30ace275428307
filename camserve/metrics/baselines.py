"""Heat that knows nothing of the image: what every figure has to beat. shape: (H, W), pixels."""

import numpy as np

from camserve.geometry.interpolation import over
from camserve.metrics.heat import Float64

# Cells of the random map along each side: about those of a network's last layer at 224 pixels.
CELLS = 7


def uniform(shape: tuple[int, int]) -> Float64:
    """The same heat everywhere: ones, (H, W)."""
    return np.ones(shape)


def centre(shape: tuple[int, int]) -> Float64:
    """A Gaussian about the middle, its standard deviation a quarter of each side, (H, W), at most 1."""
    y, x = ((np.arange(side) - (side - 1) / 2) / (side / 4) for side in shape)
    return np.asarray(np.exp(-(x**2 + y[:, None] ** 2) / 2))


def random(shape: tuple[int, int], seed: int = 0) -> Float64:
    """7 x 7 uniform random numbers laid over (H, W), bilinear, 0..1: as coarse as a real map."""
    noise = np.random.default_rng(seed).random((CELLS, CELLS), np.float32)
    v, u = ((np.arange(side) + 0.5) * CELLS / side - 0.5 for side in shape)
    return np.clip(over(noise, u, v), 0, 1).astype(np.float64)


BASELINES = {"centre": centre, "uniform": uniform, "random": random}
