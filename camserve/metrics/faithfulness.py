"""Does the map show what the network uses? The input is changed where the map is hot, and the network runs again.

Each metric is Subject -> number, with all parameters fixed. A probability is `Subject.score`; pixels are pixels of the
network's input; 0 is the mean colour. Random numbers always come from the same seed.
"""

from collections.abc import Iterator

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Float64, Indices, area_under, hottest_first, unit
from camserve.metrics.imputation import impute
from camserve.metrics.randomisation import pearson
from camserve.metrics.subject import Float32, Subject

# The kernel that blurs the first input of insertion: side and standard deviation in pixels.
KERNEL, SIGMA = 11, 5.0
# ROAD: the shares of the pixels that are removed.
SHARES = tuple(percent / 100 for percent in range(10, 100, 10))


def insertion(subject: Subject) -> float:
    """Return the area under the probability while pixels appear over a blurred input, hottest first, 0..1.

    In `Subject.steps` steps, 224 as in the paper. Petsiuk et al., BMVC 2018.
    """
    return _area_under(subject, blurred(subject.images), subject.images)


def deletion(subject: Subject) -> float:
    """Return the area under the probability while pixels turn to 0, hottest first, 0..1.

    In `Subject.steps` steps, 224 as in the paper. Petsiuk et al., BMVC 2018.
    """
    return _area_under(subject, subject.images, np.zeros_like(subject.images))


def average_drop(subject: Subject) -> float:
    """Return max(0, Y - O) / Y: the share of the probability that is lost if only hot places are shown, 0..1.

    Y is the probability of the input, O that of the input times the map's positive part divided by its maximum. 0 if Y
    is 0. Chattopadhyay et al., WACV 2018.
    """
    before, after = subject.own_score, _score_of_hot(subject)
    return max(0.0, before - after) / before if before > 0 else 0.0


def increase(subject: Subject) -> float:
    """Return 1 if the probability rises when only hot places are shown, else 0. Chattopadhyay et al., WACV 2018."""
    return float(_score_of_hot(subject) > subject.own_score)


def gain(subject: Subject) -> float:
    """Return max(0, O - Y) / (1 - Y), Y and O as in `average_drop`, 0..1; 0 if Y is 1. Zhang et al. 2024."""
    before, after = subject.own_score, _score_of_hot(subject)
    return max(0.0, after - before) / (1 - before) if before < 1 else 0.0


def adcc(subject: Subject) -> float:
    """Return the harmonic mean of coherency, 1 - complexity and 1 - average drop, 0..1. Poppi et al., CVPRW 2021.

    Raises OptionError if the subject cannot explain other inputs.
    """
    shown = unit(subject.heat)
    again = unit(subject.heat_of(_hot_part(subject)))
    coherency = (pearson(shown, again) + 1) / 2
    parts = (coherency, 1 - float(shown.mean()), 1 - average_drop(subject))
    return 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0


def road(subject: Subject) -> float:
    """Return (LeRF - MoRF) / 2: half the mean probability without the coldest pixels minus that without the hottest.

    10, 20 .. 90 % of the pixels are imputed from their neighbours, see `imputation`. Rong et al., ICML 2022. Raises
    OptionError without scipy.
    """
    order, image = hottest_first(subject.heat), subject.images[0]

    def changed(first: Indices, seed: int) -> Iterator[Float32]:
        for step, share in enumerate(SHARES):
            gone = np.zeros(order.size, bool)
            gone[first[: round(share * order.size)]] = True
            yield impute(image, gone.reshape(image.shape[1:]), seed + step)

    hottest, coldest = (
        _scores(subject, changed(first, seed)).mean() for first, seed in ((order, 0), (order[::-1], len(SHARES)))
    )
    return float((coldest - hottest) / 2)


def completeness(subject: Subject) -> float | None:
    """Return |mean of the map + bias - T(x)| / |T(x)|, >= 0; None if the map is not in logits. Zhou et al. 2016."""
    if subject.bias is None:
        return None
    value = float(subject.value(subject.images)[0])
    if value == 0:
        raise OptionError("the target is exactly 0, so completeness, a share of it, has no value: leave it out")
    return abs(float(subject.map.mean(dtype=np.float64)) + subject.bias - value) / abs(value)


def blurred(images: Float32) -> Float32:
    """Blur images (M, c, H, W) with the kernel of RISE's code; pixels beyond the edges are 0.

    That kernel is a point in 11 x 11 pixels, filtered by scipy's Gaussian with sigma 5. The filter reflects at the
    edges of the kernel, so the kernel is nearly flat.
    """
    reach = int(4 * SIGMA + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    folded = np.pad(np.arange(KERNEL), reach, mode="symmetric")  # the kernel's place for each offset
    kernel = np.bincount(folded[KERNEL // 2 : KERNEL // 2 + 2 * reach + 1], bell / bell.sum(), KERNEL)
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (KERNEL // 2, KERNEL // 2)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, pad), KERNEL, axis)
        images = np.asarray(windows @ kernel, np.float32)
    return images


def _area_under(subject: Subject, start: Float32, end: Float32) -> float:
    """Return the mean probability, by trapezoids, while pixels of `start` become those of `end`, hottest first."""
    order = hottest_first(subject.heat)
    counts = np.arange(subject.steps + 1) * order.size // subject.steps
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    rank = rank.reshape(start.shape[2:])
    scores = _scores(subject, (np.where(rank < count, end, start)[0] for count in counts))
    return area_under(scores, np.linspace(0, 1, subject.steps + 1))


def _scores(subject: Subject, changed: Iterator[Float32]) -> Float64:
    """Return the score of each input (c, H, W), in batches as large as the subject allows."""
    scores: list[Float64] = []
    batch: list[Float32] = []
    for one in changed:
        batch.append(one)
        if len(batch) == subject.batch:
            scores.append(subject.score(np.stack(batch)))
            batch = []
    return np.concatenate([*scores, *([subject.score(np.stack(batch))] if batch else [])])


def _hot_part(subject: Subject) -> Float32:
    """Return the input times the map, which is scaled to 0..1."""
    return np.asarray(subject.images * unit(subject.heat), np.float32)


def _score_of_hot(subject: Subject) -> float:
    return float(subject.score(_hot_part(subject))[0])
