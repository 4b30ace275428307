"""Checks whether a map depends on what the network learned: another class, random weights.

Adebayo et al., NeurIPS 2018.
"""

from collections.abc import Callable, Sequence

import numpy as np

from camserve.evaluation.bench import CONSTANT, Bench, Float32
from camserve.evaluation.check import Check, Limit, held, untold
from camserve.evaluation.randomised import cascade
from camserve.metrics.randomisation import spearman, ssim
from camserve.models.classifier import Classifier

# The highest rank correlation of maps of two classes that still look different. On EfficientNet-Lite0 cam has -0.15;
# layercam and gradcam++, which use only positive weights, 0.93 and 0.91; methods that do not depend on the class 1.0.
MOST_ALIKE = 0.95
# Number of random classes for each picture.
_CLASSES = 3
# The highest allowed rank correlation with the map of random weights. Measured: cam and gradcam -0.25 to 0.10 on five
# networks; guided backpropagation and guided Grad-CAM 0.81 to 0.96 while the upper half is random; layercam 0.71
# (docs/sanity.md).
MOST_LEFT = 0.5
# Number of cascades of random weights. After one cascade, maps may be similar by chance, above all for few cells and
# classes.
_SEEDS = 3
# Cascades with a smaller share of random layers count as the upper half; the check uses their mean.
_UPPER = 0.75


def random_class(bench: Bench) -> Check:
    """Check whether another class, drawn at random, has another map."""
    classes = bench.logits.shape[1]
    if classes < 2:
        return untold("other class", "there is no other class")
    if not bench.has_maps:
        return untold("other class", CONSTANT)
    chance, each = np.random.default_rng(0), []
    for images, target, own in zip(bench.inputs, bench.targets, bench.maps, strict=True):
        others = [index for index in range(classes) if index != target.index]
        drawn = chance.choice(others, size=min(_CLASSES, len(others)), replace=False)
        alike = [spearman(own, bench.map(images, bench.target_of(int(index)))) for index in drawn]
        each.append(float(np.mean(alike)))
    return held(
        "other class",
        {"rank correlation": float(np.mean(each)), "each": each},
        Limit("rank correlation", most=MOST_ALIKE),
        "another class has another map",
        "the map is the same for every class: it does not show evidence for this class",
    )


def random_weights(bench: Bench) -> Check:
    """Check whether the map changes when the weights are made random, from the output down to the input."""
    if bench.model.network.given.is_random:
        return untold("weights", "the network answers differently each time, so maps differ anyway")
    if not bench.has_maps:
        return untold("weights", CONSTANT)
    shares: list[float] = []
    ranks, likeness = [], []
    for seed in range(_SEEDS):
        shares, found = _cascaded(bench, seed)
        ranks.append([_median(spearman, bench.maps, maps) for maps in found])
        likeness.append([_median(ssim, _shown(bench, bench.maps), _shown(bench, maps)) for maps in found])
    by_share, alike = _mean(ranks), _mean(likeness)
    upper = float(np.mean([rank for rank, share in zip(by_share, shares, strict=True) if share < _UPPER]))
    numbers = {"rank correlation": max(upper, by_share[-1]), "upper half": upper, "all": by_share[-1]}
    return held(
        "weights",
        {**numbers, "shares": shares, "rank correlations": by_share, "ssim": alike},
        Limit("rank correlation", most=MOST_LEFT),
        "with random weights the map changes",
        "random weights hardly change the map: it does not show what the network has learned",
    )


def _cascaded(bench: Bench, seed: int) -> tuple[list[float], list[list[Float32]]]:
    """For each network of a cascade: the share of its layers that is random, and its map of each picture."""
    shares, found = list[float](), list[list[Float32]]()
    for share, module in cascade(bench.model.network.given, seed):
        shares.append(round(share, 3))
        found.append(_maps(bench, bench.with_module(module)))
    return shares, found


def _maps(bench: Bench, other: Classifier) -> list[Float32]:
    """The map of each picture, by another model."""
    return [bench.map(images, target, other) for images, target in zip(bench.inputs, bench.targets, strict=True)]


def _shown(bench: Bench, maps: Sequence[Float32]) -> list[Float32]:
    """The maps as pictures show them: positive values of layer maps, absolute values of pixel maps."""
    return [np.abs(one) if bench.method.lattice == "input" else np.maximum(one, 0) for one in maps]


def _median(alike: Callable[[Float32, Float32], float], ours: Sequence[Float32], theirs: Sequence[Float32]) -> float:
    """The median over pictures, without pairs in which a map is constant; NaN if no pair is left."""
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if np.ptp(one) > 0 and np.ptp(other) > 0]
    return float(np.median([alike(*pair) for pair in pairs])) if pairs else float("nan")


def _mean(values: list[list[float]]) -> list[float]:
    """The mean of the finite values of each column; 0 if it has none, because constant maps resemble no other map."""
    columns = np.array(values).T
    return [float(one[np.isfinite(one)].mean()) if np.isfinite(one).any() else 0.0 for one in columns]
