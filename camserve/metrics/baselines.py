"""Heat that does not depend on the image: a good map has a better value. shape: (H, W), pixels."""

import numpy as np

from camserve.geometry.interpolation import over
from camserve.metrics.heat import Float64

# Cells of the random map along each side: about as many as a network's last layer has at 224 pixels.
CELLS = 7


def uniform(shape: tuple[int, int]) -> Float64:
    """Return the same heat everywhere: ones, (H, W)."""
    return np.ones(shape)


def centre(shape: tuple[int, int]) -> Float64:
    """Return a Gaussian around the centre, (H, W), at most 1; its standard deviation is a quarter of each side."""
    y, x = ((np.arange(side) - (side - 1) / 2) / (side / 4) for side in shape)
    return np.asarray(np.exp(-(x**2 + y[:, None] ** 2) / 2))


def random(shape: tuple[int, int], seed: int = 0) -> Float64:
    """Return 7 x 7 uniform random numbers, enlarged bilinearly to (H, W), 0..1: as coarse as a real map."""
    noise = np.random.default_rng(seed).random((CELLS, CELLS), np.float32)
    v, u = ((np.arange(side) + 0.5) * CELLS / side - 0.5 for side in shape)
    return np.clip(over(noise, u, v), 0, 1).astype(np.float64)


BASELINES = {"centre": centre, "uniform": uniform, "random": random}
