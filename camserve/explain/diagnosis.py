"""Warn when a map means nothing, or less than it seems to: the most serious first. Needs no further forward pass."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from camserve.catalogue.method import Method
from camserve.catalogue.targets import Target
from camserve.explain.looking import Looked, Observation
from camserve.geometry.frame import Frame, Placement
from camserve.models.architectures.forms import is_untrained
from camserve.models.card import Card
from camserve.models.classifier import Classifier

Float32 = npt.NDArray[np.float32]

# The explained class should be among this many best classes; else the model does not say that the class is there.
BEST = 5
# Below this slope of the target (or 1 - p, for methods of probabilities), changes of the target are noise.
FLAT = 1e-3
# From this correlation of their positive parts on, two maps look the same.
ALIKE = 0.99


def doubt(card: Card) -> Iterator[str]:
    """Yield warnings that hold for every explanation of a model."""
    if card.weights is None and is_untrained(card.architecture):
        yield (
            f"no weights were given for '{card.architecture}', so the network is untrained and the picture means "
            "nothing: load it with weights=FILE"
        )


def of_own(own: Float32, seen: Float32, labels: Sequence[str]) -> Iterator[str]:
    """Warn if the model's answer for its own evaluation crop differs. own, seen: scores (C,) of the crop and input."""
    mine, here = int(own.argmax()), int(seen.argmax())
    if mine != here:
        yield (
            f"on its own evaluation crop the model answers '{labels[mine]}' ({own[mine]:.2f}), but on the input of "
            f"this map '{labels[here]}' comes first ({seen[here]:.2f}, '{labels[mine]}' {seen[mine]:.2f})"
        )


def diagnose(
    model: Classifier,
    seen: Sequence[Observation],
    scores: Float32 | None,
    grid_map: Float32,
    placement: Placement,
    others: Sequence[str] = (),
) -> Iterator[str]:
    """Yield warnings about one explanation.

    seen: the target in each requested layer. scores: (C,), the model's scores; None if its numbers are not classes.
    grid_map: (h, w), the raw map that is shown. placement: where its cells lie. others: the warnings of `compare`.
    """
    first = seen[0]
    yield from _of_the_map(grid_map)
    yield from _of_the_logit(first)
    if scores is not None:  # numbers that are not classes have no best class
        yield from _of_the_class(first, model.labels)
    yield from _of_saturation(first, model.card)
    yield from _of_the_layers(model, seen)
    yield from _of_the_cells(placement)
    yield from others
    yield from (text for text in _of_the_rival(first, model.labels) if text not in others)
    yield from _of_the_frame(placement.frame, model.settings.explain.max_aspect)
    yield from _of_the_answer(model, first, scores)


def compare(
    method: Method, targets: Sequence[Target], maps: Sequence[Float32], labels: Sequence[str]
) -> list[list[str]]:
    """For each target of one image, warn about other targets' maps (h, w) that look the same as its own map."""
    said: list[list[str]] = [[] for _ in maps]
    for one, other in combinations(range(len(maps)), 2):
        first, second = targets[one], targets[other]
        if not (first.is_class and second.is_class) or first.index == second.index:
            continue
        likeness = alike(maps[one], maps[other])
        if method.of_class and likeness >= ALIKE:
            said[one].append(_same(first.index, second.index, likeness, labels))
            said[other].append(_same(second.index, first.index, likeness, labels))
        elif not method.of_class:
            said[one] = said[other] = [
                f"'{method.name}' does not look at the class: its map is the same for all classes"
            ]
    return said


def alike(one: Float32, other: Float32) -> float:
    """Return the correlation of the positive parts of two maps (h, w); 0 if one is constant."""
    first, second = (np.maximum(grid_map, 0).ravel() for grid_map in (one, other))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size > 0 else 0.0


def _of_the_map(grid_map: Float32) -> Iterator[str]:
    if not np.isfinite(grid_map).all():
        yield "the map has values that are not finite: the model overflows here, and the picture means nothing"
    elif np.ptp(grid_map) == 0:
        yield "the map is constant: no place matters more than another, and the picture means nothing"
    elif grid_map.max() <= 0:
        yield "all evidence is against this class: no place speaks for it, so no heat is shown"


def _of_the_logit(seen: Observation) -> Iterator[str]:
    """Warn if the map does not add up to the logit, for heads whose map must."""
    missing, logit = seen.completeness, float(seen.logits[seen.target.index])
    if missing is not None and missing > seen.layer.engine.tolerance * max(1.0, abs(logit)):
        yield f"map and logit disagree by {missing:.2g}: the map does not account for what the model said"


def _of_the_class(seen: Observation, labels: Sequence[str]) -> Iterator[str]:
    target = seen.target
    if target.function is not None or target.sign < 0:
        return
    answers = seen.decided
    place = 1 + int((answers > answers[target.index]).sum())
    if place > BEST:
        best = labels[int(answers.argmax())]
        yield (
            f"'{labels[target.index]}' is number {place} of the model's answers, the first is '{best}': the map shows "
            "what would speak for this class, not that it is there"
        )


def is_unsure(model: Classifier, scores: Float32 | None) -> bool:
    """Whether the best of several classes that share one probability scores less than `unsure_below`."""
    if scores is None or model.card.scores != "softmax" or len(scores) == 1:
        return False
    return float(scores.max()) < unsure_below(len(scores), model.settings.explain.unsure_below)


def unsure_below(classes: int, share: float) -> float:
    """Return the score that is `share` of the way from chance, 1 / classes, to 1.

    A fixed threshold does not work: with two classes the best always scores 0.5 or more. A share of 0.3 gives the
    threshold 0.65 for 2 classes, 0.37 for 10, 0.301 for 1000.
    """
    return 1 / classes + share * (1 - 1 / classes)


def _of_the_answer(model: Classifier, seen: Observation, scores: Float32 | None) -> Iterator[str]:
    if scores is not None and is_unsure(model, scores):
        best = int(seen.decided.argmax())
        least = unsure_below(len(scores), model.settings.explain.unsure_below)
        answer = f"its best answer, '{model.labels[best]}', has a score of {scores[best]:.2f}"
        yield f"the model is unsure: {answer}, less than {least:.3g}"


def _of_saturation(seen: Observation, card: Card) -> Iterator[str]:
    """Warn if the target hardly changes when the logits change."""
    if seen.steepness is not None and seen.steepness < FLAT:
        yield (
            f"the target, {seen.target.quantity if seen.target.function is None else seen.target.name}, is "
            f"saturated: it changes by {seen.steepness:.1g} when a logit changes by 1, so the map is faint or noise; "
            "try the logit itself"
        )
    elif seen.method.scored == "probability" and seen.target.function is None and card.has_scores:
        left = _left_over(seen.logits, seen.target.index, card.scores == "sigmoid")
        if left < FLAT:
            yield (
                f"the probability is saturated, {left:.1g} below 1: '{seen.method.name}' measures how it changes, and "
                "it hardly changes; try a method of logits, such as cam or gradcam"
            )


def _left_over(logits: Float32, index: int, sigmoid: bool) -> float:
    """Return 1 - p of a class, exact also when p is close to 1."""
    values = logits.astype(np.float64)
    if sigmoid or len(values) == 1:
        return float(1 / (1 + np.exp(values[index])))
    powers = np.exp(values - values.max())
    return float(np.delete(powers, index).sum() / powers.sum())


def _of_the_layers(model: Classifier, seen: Sequence[Observation]) -> Iterator[str]:
    """Warn if every explained layer is so early that its cells cannot recognise objects."""
    reasons = [early(model, one.layer) for one in seen if one.method.at_layer]
    if reasons and all(reasons):
        names = ", ".join(f"'{one.layer.name}'" for one in seen)
        yield (
            f"layer {names} is early: {reasons[-1]}, edges and textures rather than objects; try "
            f"'{model.default_layer}', the default"
        )


def early(model: Classifier, layer: Looked, last: str | None = None) -> str | None:
    """Return why a layer is early; None if it is not. last: the latest useful layer, default the model's own layer.

    A layer is early if its cells see less than half the side of the input. Where the receptive field is the whole input
    from the start (attention, squeeze and excitation) or unknown, the first third of the layers is early.
    """
    last = last or model.default_layer
    if layer.name == last:
        return None
    field = layer.field()
    if field is not None and not field.global_context:
        side, whole = round(max(field.size)), min(layer.trained)
        return f"a cell has seen {side} of {whole} pixels each way" if 2 * side < whole else None
    names = list(model.layers())
    if layer.name not in names or last not in names:
        return None
    place, whole = names.index(layer.name) + 1, names.index(last) + 1
    return f"it is the {place}. of {whole} up to the default" if 3 * place <= whole else None


def _of_the_cells(placement: Placement) -> Iterator[str]:
    frame = placement.frame
    if any(2 * stride >= side for stride, side in zip(placement.stride, frame.input, strict=True)):
        width, height = (round(stride / scale) for stride, scale in zip(placement.stride, frame.scale, strict=True))
        yield (
            f"a cell of the map is {width} x {height} pixels of the photograph, half of what the model saw or more: "
            "it cannot say where; try a larger size or an earlier layer"
        )


def _of_the_rival(seen: Observation, labels: Sequence[str]) -> Iterator[str]:
    if seen.rival is not None:
        index, grid_map = seen.rival
        likeness = alike(seen.map, grid_map)
        if likeness >= ALIKE:
            yield _same(seen.target.index, index, likeness, labels)


def _same(index: int, other: int, likeness: float, labels: Sequence[str]) -> str:
    return (
        f"the map of '{labels[other]}' is nearly the same (correlation {likeness:.3f}): this one shows where the model "
        f"looks, not what decides between the two; try target {index}-{other}"
    )


def _of_the_frame(frame: Frame, max_aspect: float) -> Iterator[str]:
    width, height = frame.original
    across, down = frame.scale
    if max(width, height) > max_aspect * min(width, height) and frame.sees_all and across != down:
        yield f"the image is longer than {max_aspect:g} : 1 and was squeezed to that before the model saw it"
    elif max(across, down) > 1.1 * min(across, down):
        if frame.input[0] == frame.input[1]:
            yield "the model takes squares only, so the image was squeezed to one before the model saw it"
        else:
            yield "the model takes one shape only, so the image was squeezed to that before the model saw it"
    if not frame.sees_all:
        left, top, right, bottom = frame.box
        share = (right - left) * (bottom - top) / (width * height)
        yield f"the model saw {share:.0%} of the image; the rest is marked as unseen"
