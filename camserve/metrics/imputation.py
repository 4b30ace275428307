"""Noisy linear imputation: each removed pixel becomes the weighted mean of its neighbours, plus noise.

Rong et al., ICML 2022, arXiv:2202.00449: a neighbour beside, above or below has the weight 1/6, a diagonal neighbour
1/12. At the edges of the image, where there are fewer neighbours, the weights are divided by their sum. Removed
neighbours are unknowns of the same linear system.
"""

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Float, Float64, Indices, Mask
from camserve.metrics.of_scipy import scipy_part
from camserve.metrics.subject import Float32

NEIGHBOURS = {
    (down, across): 1 / 6 if 0 in (down, across) else 1 / 12
    for down in (-1, 0, 1)
    for across in (-1, 0, 1)
    if (down, across) != (0, 0)
}
# Standard deviation of the noise, in units of the network's input.
NOISE = 0.01


def impute(image: Float, gone: Mask, seed: int = 0, noise: float = NOISE) -> Float32:
    """Impute the pixels of `gone`, (H, W), in an image (c, H, W). Raises OptionError if all are gone, or without scipy.

    noise: the standard deviation of the normal noise on the imputed pixels. seed: of this noise.
    """
    if gone.all():
        raise OptionError("every pixel is removed: there is no pixel left to impute from")
    filled = np.array(image, np.float32)
    if gone.any():
        made = _solved(image, gone)
        made += noise * np.random.default_rng(seed).standard_normal(made.shape)
        filled[:, gone] = made
    return filled


def _solved(image: Float, gone: Mask) -> Float64:
    """Return the removed pixels, imputed without noise, (c, removed pixels) in reading order."""
    sparse, linalg = (scipy_part(name, "road") for name in ("sparse", "sparse.linalg"))
    (height, width), count = gone.shape, int(gone.sum())
    number = np.full(gone.shape, -1)
    number[gone] = np.arange(count)
    rows, columns = np.nonzero(gone)
    own, known = np.zeros(count), np.zeros((count, len(image)))
    ties: list[tuple[Indices, Indices, Float64]] = []
    for (down, across), weight in NEIGHBOURS.items():
        y, x = rows + down, columns + across
        there = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        y, x = y[there], x[there]
        own[there] += weight
        unknown = gone[y, x]
        known[there[~unknown]] += weight * image[:, y[~unknown], x[~unknown]].T
        ties.append((there[unknown], number[y[unknown], x[unknown]], np.full(int(unknown.sum()), -weight)))
    ties.append((np.arange(count), np.arange(count), own))
    row, column, value = (np.concatenate(part) for part in zip(*ties, strict=True))
    system = sparse.csc_matrix((value, (row, column)), (count, count))
    return np.asarray(linalg.splu(system).solve(known).T)
