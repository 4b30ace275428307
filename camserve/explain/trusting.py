"""Measure on a worker how far each map can be trusted, or say why that cannot be measured."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Runs
from camserve.catalogue.methods import find_method
from camserve.explain.questioned import score_of, subject_of
from camserve.explain.run import Run
from camserve.explanation.attribution import Attribution
from camserve.images.reading import Photo
from camserve.metrics.subject import Float32, Float64
from camserve.metrics.trust import CANNOT_TELL, DOUBTFUL, Trust, trust
from camserve.models.classifier import Classifier
from camserve.system.deadlines import check_deadline

# How far a map's mean plus the bias may be from the logit, as a share of the logit. Numbers in bfloat16 are 0.4 %
# apart.
TOLERANCE, TOLERANCES = 1e-3, {"bfloat16": 0.05}
# A method that needs at most this many forward passes is run once more, on the mirror image.
CHEAP = 4


def with_trust(model: Classifier, found: Sequence[Attribution], photo: Photo, run: Run) -> list[Attribution]:
    """Return the explanations of `photo`, each with how far its map can be trusted. Raises DeadlinePassed."""
    workers = run.workers or model.workers
    said = workers.run(lambda: [trust_of(model, one, photo) for one in found], run.deadline)
    return [replace(one, trust=each) for one, each in zip(found, said, strict=True)]


def trust_of(model: Classifier, found: Attribution, photo: Photo) -> Trust:
    """Return how far one map can be trusted. Runs the network in the calling thread. Raises DeadlinePassed."""
    if reason := _unanswerable(model, found):
        return Trust(CANNOT_TELL, reason=reason)
    if disagrees(found):
        return Trust(DOUBTFUL, reason="map and logit disagree: the map does not add up to what the model said")
    subject = subject_of(model, found, photo)
    asked = subject.score

    def score(images: Float32) -> Float64:
        check_deadline()
        return asked(images)

    explain = subject.explain if _is_cheap(found.method) else None
    said = trust(replace(subject, score=score, explain=explain), score_of(model, found))
    if found.own_logits is None:
        return said
    return replace(said, answer=score_of(model, replace(found, logits=found.own_logits)))


def disagrees(found: Attribution) -> bool:
    """Whether a map that must add up to its target, as the CAM of a linear head must, does not."""
    exact = found.method == "cam" and found.head == HeadKind.LINEAR and found.account is not None
    one_pass = len(found.layers) == 1 and not found.scales and found.output_stride is None
    if not (exact and one_pass and found.target.is_linear) or found.value is None:
        return False
    missing = abs(float(found.map.mean(dtype=np.float64)) + found.bias - found.value)
    return missing > TOLERANCES.get(found.origin.precision, TOLERANCE) * max(1.0, abs(found.value))


def _unanswerable(model: Classifier, found: Attribution) -> str:
    """Return why trust cannot be measured; "" if it can."""
    if model.card.scores == "embedding":
        return "the likeness of two photographs is not a probability"
    if not model.card.has_scores:
        return "the model gives numbers, not scores"
    return "the target is the caller's own function, not a probability" if found.target.function is not None else ""


def _is_cheap(name: str) -> bool:
    """Whether a method is cheap enough to run once more."""
    cost = find_method(name).cost
    runs = (cost.count or 0) * (2 if cost.of is Runs.GRADIENT else 1)
    return cost.of is None or (cost.each is None and cost.count is not None and runs <= CHEAP)
