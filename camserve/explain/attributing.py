"""Turn the observations of one photograph into an Attribution for each target."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.explain.diagnosis import compare, diagnose, doubt, is_unsure, of_own
from camserve.explain.looking import Observation, fuse
from camserve.explanation.attribution import Attribution, Origin
from camserve.explanation.class_scores import scores_of
from camserve.geometry.frame import Frame, Placement
from camserve.models.card import Card
from camserve.models.classifier import Classifier
from camserve.system.versions import versions

if TYPE_CHECKING:
    from camserve.explain.sharp import Sharp

Float32 = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """What one photograph showed.

    by_target: for each target the Observation of each layer. own: the logits (C,) for the model's own evaluation crop,
    None if the input was that crop. combined: for each target the map of several sizes.
    """

    by_target: list[list[Observation]]
    own: Float32 | None
    combined: "list[Sharp] | None" = None


@np.errstate(over="ignore", invalid="ignore")  # as in `observe`
def attributions(model: Classifier, frame: Frame, seen: Seen, output_stride: int | None) -> list[Attribution]:
    """Make one Attribution for each target. frame: of the network's input. output_stride: as in the options."""
    placed = [fuse(one, frame) for one in seen.by_target]
    targets = [one[0].target for one in seen.by_target]
    alike = compare(seen.by_target[0][0].method, targets, [grid_map for grid_map, _ in placed], model.labels)
    several = zip(seen.by_target, placed, alike, strict=True)
    made = [_attribution(model, one, *place, seen.own, others, output_stride) for one, place, others in several]
    if seen.combined is None:
        return made
    return [replace(one, **vars(sharp)) for one, sharp in zip(made, seen.combined, strict=True)]


def _attribution(
    model: Classifier,
    seen: list[Observation],
    grid_map: Float32,
    placement: Placement,
    own: Float32 | None,
    others: list[str],
    output_stride: int | None,
) -> Attribution:
    """Make the Attribution of one target. own: see `Seen`. others: the warnings of `compare` for this target."""
    first, frame, layers = seen[0], placement.frame, tuple(one.layer.name for one in seen)
    engine = first.layer.engine
    about_method = [first.method.check] if first.method.check else []
    scores, here = _scores(first.decided, model.card), None if own is None else _scores(first.logits, model.card)
    about_own = () if scores is None or here is None else of_own(scores, here, model.labels)
    warnings = diagnose(model, seen, scores, grid_map, placement, others)
    about_model = *doubt(model.card), *model.notes(frame.input, layers)
    across, down = (first.layer.field(side, axis) for axis, side in enumerate(frame.input))
    return Attribution(
        map=grid_map,
        placement=placement,
        logits=first.logits,
        scores=scores,
        own_logits=own,
        labels=model.labels,
        output=model.output,
        target=first.target,
        value=first.value,
        method=first.method.name,
        layers=layers,
        head=first.layer.head.kind.value,
        completeness=first.completeness,
        warnings=(*about_model, *about_method, *warnings, *about_own),
        origin=Origin(model.described, engine.name, engine.precision, versions(engine.name)),
        output_stride=output_stride,
        account=next((one.account.within(frame) for one in seen if one.account), None),
        receptive_fields=None if across is None or down is None else (across, down),
        unsure=is_unsure(model, scores),
    )


def _scores(logits: Float32, card: Card) -> Float32 | None:
    """Return the scores of the classes, by the card's `scores`; None if the model's numbers are not classes."""
    return scores_of(logits, each_alone=card.scores == "sigmoid") if card.has_scores else None
