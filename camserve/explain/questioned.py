"""An explanation as metrics see it: its input, its map over that input, and the model's score of changed inputs.

The functions made here run the network in the calling thread: call them on a worker, see `camserve.system.workers`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.catalogue.methods import find_method
from camserve.catalogue.targets import Target
from camserve.errors import OptionError
from camserve.explanation.attribution import Attribution
from camserve.explanation.class_scores import scores_of
from camserve.geometry.frame import native
from camserve.images.reading import Photo
from camserve.metrics.subject import Asked, Float32, Float64, Subject
from camserve.models.classifier import Classifier
from camserve.models.compiled.closed import Closed
from camserve.models.inputs.preprocessing import to_array

# Inputs (M, c, H, W) -> logits (M, C)
Logits = Callable[[Float32], Float32]


def subject_of(model: Classifier, found: Attribution, photo: Photo) -> Subject:
    """Return what metrics may ask about one explanation of `photo` by `model`.

    Raises OptionError if another model made the explanation, or if it explains a likeness of two photographs.
    """
    if found.origin.model != model.described:
        raise OptionError(
            f"the explanation is of the model '{found.model_name}', not of '{model.name}': give the model that made it"
        )
    model = model.of_output(found.output)
    images = to_array(photo, found.placement.frame, model.card.input)
    place = replace(found.placement, frame=native(found.placement.frame.input))
    closed = model.closed if model.closed is not None and _is_of(model.closed, found) else None
    logits = _by_network(model, found) if closed is None else _by_closed(closed)
    height = images.shape[2]

    def explained(changed: Float32) -> Float32:
        made = (
            _map_by_network(model, found, changed) if closed is None else _map_by_closed(closed, found.target, changed)
        )
        return place.rows(made, 0, height)

    return Subject(
        images=images,
        map=found.map,
        heat=place.rows(found.map, 0, height),
        score=_scored(found.target, logits, model.card.scores),
        value=lambda changed: values_of(found.target, logits(changed)),
        explain=explained if len(found.layers) == 1 and not found.scales else None,
        batch=1 if closed is not None else _batch(model),
        bias=found.bias if _in_logits(found) else None,
    )


def score_of(model: Classifier, found: Attribution) -> float:
    """Return `Subject.own_score` of an explanation by `model`, from the explanation's logits."""
    score = _scored(found.target, lambda _: found.logits[None], model.card.scores)
    return float(score(np.empty(0, np.float32))[0])


def values_of(target: Target, logits: Float32) -> Float64:
    """Return the values (M,) of a target at logits (M, C)."""
    if target.terms is not None:
        return np.asarray(sum(factor * logits[:, index].astype(np.float64) for index, factor in target.terms))
    import torch

    return target(torch.from_numpy(logits)).detach().numpy().astype(np.float64)


def _scored(target: Target, logits: Logits, kind: str) -> Asked:
    """Return the function `Subject.score`. kind: `scores` of the model's card."""

    def score(changed: Float32) -> Float64:
        said = logits(changed)
        if target.function is not None or kind not in ("softmax", "sigmoid"):
            return values_of(target, said)
        if target.against is not None:
            difference = (said[:, target.index] - said[:, target.against]).astype(np.float64)
            return 1 / (1 + np.exp(-target.sign * difference))
        own = np.array([scores_of(one, each_alone=kind == "sigmoid")[target.index] for one in said], np.float64)
        return own if target.sign == 1 else 1 - own

    return score


def _in_logits(found: Attribution) -> bool:
    """Whether the mean of the explanation's map and its bias add up to the target."""
    exact = find_method(found.method).unit == "logits" and found.account is not None and found.target.is_linear
    return exact and not found.scales and found.output_stride is None


def _is_of(closed: Closed, found: Attribution) -> bool:
    return found.layers == (closed.name,) and found.method == "cam" and not found.scales and found.output_stride is None


def _by_closed(closed: Closed) -> Logits:
    return lambda images: np.stack([closed.observe(one[None])[1] for one in images])


def _map_by_closed(closed: Closed, target: Target, images: Float32) -> Float32:
    activations, _ = closed.observe(images)
    maps = activations.reshape(len(activations), -1)
    weighted = maps if closed.weight is None else closed.weight @ maps
    return np.asarray(sum(factor * weighted[index] for index, factor in target.terms or ()), np.float32).reshape(
        activations.shape[1:]
    )


def _by_network(model: Classifier, found: Attribution) -> Logits:
    import torch

    layer = model.layer(found.layers[0])

    def logits(images: Float32) -> Float32:
        said: npt.NDArray[Any] = layer.observe(torch.from_numpy(images))[2].cpu().numpy()
        return said

    return logits


def _map_by_network(model: Classifier, found: Attribution, images: Float32) -> Float32:
    import torch

    from camserve.explain.observation import evidence_of
    from camserve.methods.apply import apply

    layer, pixels = model.layer(found.layers[0], found.output_stride), torch.from_numpy(images)
    evidence = evidence_of(model, layer, pixels, found.target, layer.observe(pixels))
    made: Float32 = apply(find_method(found.method), evidence)[0].cpu().numpy()
    return made


def _batch(model: Classifier) -> int:
    return model.settings.compute.batch if model.network.given.together > 1 else 1
