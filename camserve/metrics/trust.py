"""How far one map can be trusted: hide its hottest places, hide a random place, and explain the mirror image.

Two questions show whether a map explains the model's answer. Do the places matter to the model: does the score stay if
only the hottest places are shown, and fall if they are hidden (insertion and deletion: Petsiuk et al. 2018, RISE)? And
is it the map of this image: does the mirror image give the mirrored map? A logistic regression makes one probability of
both. It was fitted to maps of photographs and to broken maps; docs/trust.md has its results and its limits.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.metrics.randomisation import pearson
from camserve.metrics.subject import Float32, Subject

Mask = npt.NDArray[np.bool_]

TRUSTED, DOUBTFUL, CANNOT_TELL = "trusted", "doubtful", "cannot tell"

# The hottest shares of the input that are kept and removed. The sentence is about the first share.
SHARES = (0.3, 0.5)
# By how much of its height and width the first share's mask is moved, to hide a place of the same shape.
ELSEWHERE = tuple(np.random.default_rng(0).uniform(0.25, 0.75, 2).round(3).tolist())
# Forward passes: each share kept and removed, the moved share, and the mirror image.
FORWARDS = 2 * len(SHARES) + 2

# The constant and the slope of each of `signals`, with a mirror image and without it; and the probability from which on
# a map is trusted. Made by `python benchmarks/trust.py DATA`.
WITH_MIRROR, TRUSTED_FROM = (-5.16, 0.32, 3.56), 0.57
WITHOUT, TRUSTED_FROM_WITHOUT = (-0.66, 1.08), 0.3
# Scores below this count as this, because a ratio of tiny scores has no meaning.
LEAST = 1e-6
# Correlations above this count as this.
MOST = 0.999
# From this difference on, the sentence also has the score of the model's own crop.
_OTHER = 0.05
# If the input's score is below this, it is too small to show a fall.
SURE = 0.01


@dataclass(frozen=True)
class Trust:
    """How far a map can be trusted.

    verdict: TRUSTED, DOUBTFUL or CANNOT_TELL. probability: that the map is not broken, 0..1, if one map in two were
    broken; None if it cannot be measured, or if the map is visibly broken. reason: why there is no probability, else
    "". before: the score of the map's input. kept, removed: for each of SHARES, the score with only the hottest share,
    and without it. without_random: the score with a moved mask of the first share hidden. mirror: correlation with the
    map of the mirror image, mirrored back, -1..1; None if the mirror image was not explained. forwards: forward passes
    of the network. answer: the score of the model's own crop, which the model's answer reports; None if the answer
    comes from the map's input.
    """

    verdict: str
    probability: float | None = None
    reason: str = ""
    before: float | None = None
    kept: tuple[float, ...] = ()
    removed: tuple[float, ...] = ()
    without_random: float | None = None
    mirror: float | None = None
    forwards: int = 0
    answer: float | None = None

    @property
    def sentence(self) -> str:
        """The result as one line of text."""
        said = f"{self.verdict}, {self.probability:.2f}" if self.probability is not None else self.verdict
        words = [f"{said}: {self.reason}" if self.reason else f"{said}: {_hiding(self)}"]
        if not self.reason and self.mirror is not None:
            words.append(f"the mirror image's map agrees by {self.mirror:.2f}")
        if not self.reason and self.answer is not None and abs(self.answer - (self.before or 0)) >= _OTHER:
            words.append(
                f"these scores are for the map's input, the answer's {self.answer:.2f} is for the model's own crop"
            )
        return "; ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return every field, and `sentence`, for JSON."""
        return {**asdict(self), "kept": list(self.kept), "removed": list(self.removed), "sentence": self.sentence}


def _hiding(found: Trust) -> str:
    assert found.before is not None and found.without_random is not None
    before, hottest, random = (f"{score:.2f}" for score in (found.before, found.removed[0], found.without_random))
    verb = "drops" if hottest < before else "raises"
    moved = f"leaves the score at {before}" if before == hottest else f"{verb} the score from {before} to {hottest}"
    share = f"{SHARES[0]:.0%}".replace("%", " %")
    return f"hiding the hottest {share} {moved}; hiding a random {share} of the same shape gives {random}"


def trust(subject: Subject, before: float | None = None) -> Trust:
    """Measure how far the map of `subject` can be trusted, with FORWARDS forward passes, or one less without `explain`.

    `subject.score` must be a probability, 0..1. before: the score of the input, if known. Without a forward pass, a map
    that is constant or not finite is DOUBTFUL, and a map without heat or with a tiny score gives CANNOT_TELL.
    """
    if wrong := _wrong(subject.map):
        return Trust(DOUBTFUL, reason=wrong)
    if subject.map.max() <= 0:
        return Trust(CANNOT_TELL, reason="the map has no heat: no place speaks for this class")
    before = subject.own_score if before is None else before
    if before < SURE:
        return Trust(CANNOT_TELL, reason=f"the score is {before:.1g}, too small to show a fall", before=before)
    hottest = hottest_of(subject.heat)
    kept = [np.where(mask, subject.images, 0) for mask in hottest]
    removed = [np.where(mask, 0, subject.images) for mask in (*hottest, _moved(hottest[0]))]
    scores = [float(score) for score in subject.in_batches(subject.score, np.concatenate([*kept, *removed]))]
    mirror, count = mirrored(subject), len(SHARES)
    found = Trust(
        verdict=CANNOT_TELL,
        before=before,
        kept=tuple(scores[:count]),
        removed=tuple(scores[count : 2 * count]),
        without_random=scores[-1],
        mirror=mirror,
        forwards=FORWARDS - (mirror is None),
    )
    return judged(found)


def mirrored(subject: Subject) -> float | None:
    """Return the correlation, -1..1, of the map's heat with the mirrored input's heat, mirrored back.

    None if the subject cannot explain other inputs.
    """
    if subject.explain is None:
        return None
    image = np.ascontiguousarray(subject.images[..., ::-1])
    return pearson(subject.positive, np.maximum(subject.explain(image)[:, ::-1], 0))


def signals(found: Trust) -> tuple[float, ...]:
    """Return the inputs of the probability: the mean of ln(kept / removed) over SHARES, and artanh of the correlation.

    Without a mirror image there is only the first.
    """
    pairs = zip(found.kept, found.removed, strict=True)
    places = sum(math.log(max(kept, LEAST) / max(removed, LEAST)) for kept, removed in pairs) / len(SHARES)
    return (places,) if found.mirror is None else (places, math.atanh(max(-MOST, min(found.mirror, MOST))))


def judged(found: Trust) -> Trust:
    """Return what was measured, with its probability and verdict."""
    constant, *slopes = WITHOUT if found.mirror is None else WITH_MIRROR
    odds = constant + sum(slope * signal for slope, signal in zip(slopes, signals(found), strict=True))
    probability = 1 / (1 + math.exp(-odds))
    least = TRUSTED_FROM_WITHOUT if found.mirror is None else TRUSTED_FROM
    return replace(found, probability=probability, verdict=TRUSTED if probability >= least else DOUBTFUL)


def hottest_of(heat: Float32) -> list[Mask]:
    """Return a mask of the hottest pixels of (H, W) for each of SHARES; among equally hot pixels the first rows win."""
    flat, masks = heat.ravel(), []
    ranks = [heat.size - max(1, round(share * heat.size)) for share in SHARES]
    ordered = np.partition(flat, ranks)
    for rank in ranks:
        mask = flat > ordered[rank]
        mask[np.flatnonzero(flat == ordered[rank])[: heat.size - rank - int(mask.sum())]] = True
        masks.append(mask.reshape(heat.shape))
    return masks


def _moved(mask: Mask) -> Mask:
    """Move a mask; what leaves on one side comes back on the other side."""
    down, across = (round(share * side) for share, side in zip(ELSEWHERE, mask.shape, strict=True))
    return np.roll(mask, (down, across), (0, 1))


def _wrong(grid_map: Float32) -> str:
    """Return what is visibly wrong with a map (h, w); "" if nothing is."""
    if not np.isfinite(grid_map).all():
        return "the map has values that are not finite"
    return "the map is constant: no place matters more than another" if np.ptp(grid_map) == 0 else ""
