"""How far one map can be trusted: hide what it calls hottest, hide as much elsewhere, and explain the mirror image.

Two questions of a map that should show why a model says what it says. Do the places matter to the model: is the score
kept where the hottest alone are shown, and lost where they are hidden (insertion and deletion: Petsiuk et al. 2018,
RISE)? And is it the map of this image: does the mirror image give the mirrored map? Both together are made one
probability by a logistic regression, fitted to maps of photographs and to broken ones; docs/trust.md says what it found
and what it cannot tell.
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

# Shares of the input that are kept and removed, the hottest first. The words are about the first.
SHARES = (0.3, 0.5)
# By how much of its height and width the first share's mask is moved, to hide as much elsewhere, as smooth.
ELSEWHERE = tuple(np.random.default_rng(0).uniform(0.25, 0.75, 2).round(3).tolist())
# Forwards of the network: each share kept and removed, the share elsewhere, and the mirror image.
FORWARDS = 2 * len(SHARES) + 2

# The constant and the slope of each of `signals`, with a mirror image and without; from which probability on a map is
# trusted. Made by `python benchmarks/trust.py DATA`.
WITH_MIRROR, TRUSTED_FROM = (-5.16, 0.32, 3.56), 0.57
WITHOUT, TRUSTED_FROM_WITHOUT = (-0.66, 1.08), 0.3
# Scores below this count as this: what is next to nothing has no meaningful ratio.
LEAST = 1e-6
# Correlations above this count as this.
MOST = 0.999
# From this difference on, the score of the model's own crop is told beside that of the input.
_OTHER = 0.05
# Where the input scores less than this, there is too little to lose.
SURE = 0.01


@dataclass(frozen=True)
class Trust:
    """How far a map can be trusted.

    verdict: TRUSTED, DOUBTFUL or CANNOT_TELL. probability: that the map is no broken one, 0..1, if one in two were
    broken; None where it cannot be told, or where the map is broken by itself. reason: why; "" elsewhere. before: the
    score of the input that the map is of. kept, removed: the score with the hottest of SHARES alone, and without them.
    without_random: with as much as the first share hidden elsewhere. mirror: correlation with the map of the mirror
    image, mirrored back, -1..1; None where it was not explained. forwards: of the network. answer: the score that the
    model gives its own crop, which is the one reported; None where the input that the map is of answers itself.
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
        """The same in words, one line."""
        said = f"{self.verdict}, {self.probability:.2f}" if self.probability is not None else self.verdict
        words = [f"{said}: {self.reason}" if self.reason else f"{said}: {_hiding(self)}"]
        if not self.reason and self.mirror is not None:
            words.append(f"the mirror image's map agrees by {self.mirror:.2f}")
        if not self.reason and self.answer is not None and abs(self.answer - (self.before or 0)) >= _OTHER:
            words.append(
                f"these scores are of the map's input, the answer's {self.answer:.2f} is of the model's own crop"
            )
        return "; ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every field, and `sentence`."""
        return {**asdict(self), "kept": list(self.kept), "removed": list(self.removed), "sentence": self.sentence}


def _hiding(found: Trust) -> str:
    assert found.before is not None and found.without_random is not None
    before, hottest, random = (f"{score:.2f}" for score in (found.before, found.removed[0], found.without_random))
    verb = "drops" if hottest < before else "raises"
    moved = f"leaves the score at {before}" if before == hottest else f"{verb} the score from {before} to {hottest}"
    share = f"{SHARES[0]:.0%}".replace("%", " %")
    return f"hiding the hottest {share} {moved}; hiding a random {share} as smooth, to {random}"


def trust(subject: Subject, before: float | None = None) -> Trust:
    """How far the map of `subject` can be trusted: FORWARDS forwards, one less where it cannot be explained again.

    Its score must be a probability, 0..1. before: that of the input, where it is known. Nothing is run for a map of
    equal values, or with some that are not finite: it is DOUBTFUL; nor where nothing can be told, as of a map without
    heat and of a score that has little to lose.
    """
    if wrong := _wrong(subject.map):
        return Trust(DOUBTFUL, reason=wrong)
    if subject.map.max() <= 0:
        return Trust(CANNOT_TELL, reason="the map has no heat: no place speaks for this class")
    before = subject.own_score if before is None else before
    if before < SURE:
        return Trust(CANNOT_TELL, reason=f"the score is {before:.1g}, too little to lose", before=before)
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
    """How much the map is that of the mirrored input, mirrored back: the correlation of their heat, -1..1.

    None where the map cannot be explained again.
    """
    if subject.explain is None:
        return None
    image = np.ascontiguousarray(subject.images[..., ::-1])
    return pearson(subject.positive, np.maximum(subject.explain(image)[:, ::-1], 0))


def signals(found: Trust) -> tuple[float, ...]:
    """What the probability is made of: ln(kept / removed), on average over SHARES; and artanh of the correlation."""
    pairs = zip(found.kept, found.removed, strict=True)
    places = sum(math.log(max(kept, LEAST) / max(removed, LEAST)) for kept, removed in pairs) / len(SHARES)
    return (places,) if found.mirror is None else (places, math.atanh(max(-MOST, min(found.mirror, MOST))))


def judged(found: Trust) -> Trust:
    """What was measured, with its probability and verdict."""
    constant, *slopes = WITHOUT if found.mirror is None else WITH_MIRROR
    odds = constant + sum(slope * signal for slope, signal in zip(slopes, signals(found), strict=True))
    probability = 1 / (1 + math.exp(-odds))
    least = TRUSTED_FROM_WITHOUT if found.mirror is None else TRUSTED_FROM
    return replace(found, probability=probability, verdict=TRUSTED if probability >= least else DOUBTFUL)


def hottest_of(heat: Float32) -> list[Mask]:
    """Where the hottest pixels of (H, W) are, a mask for each of SHARES; of equally hot ones the first rows'."""
    flat, masks = heat.ravel(), []
    ranks = [heat.size - max(1, round(share * heat.size)) for share in SHARES]
    ordered = np.partition(flat, ranks)
    for rank in ranks:
        mask = flat > ordered[rank]
        mask[np.flatnonzero(flat == ordered[rank])[: heat.size - rank - int(mask.sum())]] = True
        masks.append(mask.reshape(heat.shape))
    return masks


def _moved(mask: Mask) -> Mask:
    """A mask of the same shape elsewhere: what leaves on one side comes back on the other."""
    down, across = (round(share * side) for share, side in zip(ELSEWHERE, mask.shape, strict=True))
    return np.roll(mask, (down, across), (0, 1))


def _wrong(grid_map: Float32) -> str:
    """What is wrong with a map (h, w) by itself; "" for nothing."""
    if not np.isfinite(grid_map).all():
        return "the map has values that are not finite"
    return "the map is constant: no place matters more than another" if np.ptp(grid_map) == 0 else ""
