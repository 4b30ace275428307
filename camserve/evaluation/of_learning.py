"""Checks of what a map owes to what was learned: another class, random weights. Adebayo et al., NeurIPS 2018."""

from collections.abc import Callable, Sequence

import numpy as np

from camserve.evaluation.bench import CONSTANT, Bench, Float32
from camserve.evaluation.check import Check, Limit, held, untold
from camserve.evaluation.randomised import cascade
from camserve.metrics.randomisation import spearman, ssim
from camserve.models.classifier import Classifier

# Maps of two classes whose ranks agree more than this look the same. On EfficientNet-Lite0 cam has -0.15; layercam and
# gradcam++, which take positive weights only, 0.93 and 0.91; methods that do not look at the class 1.0.
MOST_ALIKE = 0.95
# Classes that are drawn for each picture.
_CLASSES = 3
# Rank correlation with the map of random weights: with cam and gradcam -0.25 to 0.10 on five networks, with guided
# backpropagation and guided Grad-CAM 0.81 to 0.96 while the upper half is random, with
# layercam 0.71 (docs/sanity.md).
MOST_LEFT = 0.5
# Cascades of random weights: one alone may leave maps alike by chance, above all of few cells and classes.
_SEEDS = 3
# A share of random layers of less than this belongs to the upper half, which number counts by its mean.
_UPPER = 0.75


def random_class(bench: Bench) -> Check:
    """Whether the map of another class, drawn at random, is another map."""
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
        "the map is the same whatever the class: it does not show what speaks for this one",
    )


def random_weights(bench: Bench) -> Check:
    """Whether the map changes when the weights are made random, from the answer down to the pixels."""
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
        "with random weights the map is another one",
        "random weights leave the map much as it is: it does not show what the network has learned",
    )


def _cascaded(bench: Bench, seed: int) -> tuple[list[float], list[list[Float32]]]:
    """For each network of a cascade the share of its layers that is random, and its map of each picture."""
    shares, found = list[float](), list[list[Float32]]()
    for share, module in cascade(bench.model.network.given, seed):
        shares.append(round(share, 3))
        found.append(_maps(bench, bench.with_module(module)))
    return shares, found


def _maps(bench: Bench, other: Classifier) -> list[Float32]:
    """Of each picture, by another model."""
    return [bench.map(images, target, other) for images, target in zip(bench.inputs, bench.targets, strict=True)]


def _shown(bench: Bench, maps: Sequence[Float32]) -> list[Float32]:
    """What pictures show of maps: of a layer's what speaks for the class, of pixels how much they count."""
    return [np.abs(one) if bench.method.lattice == "input" else np.maximum(one, 0) for one in maps]


def _median(alike: Callable[[Float32, Float32], float], ours: Sequence[Float32], theirs: Sequence[Float32]) -> float:
    """Over pictures, those left out of which either map is constant; NaN where all are."""
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if np.ptp(one) > 0 and np.ptp(other) > 0]
    return float(np.median([alike(*pair) for pair in pairs])) if pairs else float("nan")


def _mean(values: list[list[float]]) -> list[float]:
    """Of each column what is a number, 0 where nothing is: constant maps are like no other."""
    columns = np.array(values).T
    return [float(one[np.isfinite(one)].mean()) if np.isfinite(one).any() else 0.0 for one in columns]
