"""How small noise changes the map, and how hiding a place changes the target. Yeh et al., NeurIPS 2019.

arXiv:1901.09392.
"""

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Mask, seen
from camserve.metrics.subject import Float32, Subject

# Max-sensitivity: the largest noise in units of the network's input, and the number of inputs.
RADIUS, SAMPLES = 0.02, 10
# Infidelity: the number of squares, and how many of them fit along a side.
SQUARES, PER_SIDE = 64, 4


def max_sensitivity(subject: Subject, seed: int = 0) -> float:
    """Return the largest |heat(x') - heat(x)| / |heat(x)| of 10 inputs x' with uniform noise in -0.02 .. 0.02.

    It is 0 or more; 0 if no map has heat. Raises OptionError if the subject cannot explain other inputs, or if only the
    map of x has no heat.
    """
    own, random = seen(subject.heat), np.random.default_rng(seed)
    noisy = [subject.images + _noise(random, subject.images.shape) for _ in range(SAMPLES)]
    largest = max(float(np.linalg.norm(seen(subject.heat_of(one)) - own)) for one in noisy)
    length = float(np.linalg.norm(own))
    if length == 0 and largest > 0:
        raise OptionError("the map is 0 everywhere, so a relative change has no value: leave max_sensitivity out")
    return largest / length if largest > 0 else 0.0


def infidelity(subject: Subject, seed: int = 0) -> float:
    """Return the mean of (b * heat in a square - (T(x) - T(x with the square at 0)))^2 over 64 squares, 0 or more.

    b is the factor with the smallest mean, so the map's unit does not matter. A square is a quarter of each side.
    """
    heat, image = seen(subject.heat), subject.images[0]
    masks = squares(heat.shape, seed)
    hidden = np.where(masks[:, None], np.float32(0), image)
    drops = float(subject.value(subject.images)[0]) - subject.in_batches(subject.value, hidden)
    sums = masks.reshape(len(masks), -1) @ heat.ravel()
    factor = sums @ drops / (sums @ sums) if sums.any() else 0.0
    return float(np.mean((factor * sums - drops) ** 2))


def squares(shape: tuple[int, ...], seed: int = 0) -> Mask:
    """Return 64 masks (64, H, W), each a square of a quarter of each side, at uniformly random places inside."""
    (height, width), random = shape, np.random.default_rng(seed)
    tall, wide = max(height // PER_SIDE, 1), max(width // PER_SIDE, 1)
    top = random.integers(0, height - tall + 1, SQUARES)[:, None]
    left = random.integers(0, width - wide + 1, SQUARES)[:, None]
    y, x = np.arange(height), np.arange(width)
    rows, columns = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
    return np.asarray(rows[:, :, None] & columns[:, None, :])


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> Float32:
    return random.uniform(-RADIUS, RADIUS, shape).astype(np.float32)
