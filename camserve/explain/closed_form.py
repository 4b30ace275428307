"""Explain a model file in closed form: one run of the file, then arithmetic. No torch.

It does for the exact map at the file's own layer what `camserve.explain.seeing` does with a network.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from camserve.catalogue.methods import AUTO, QUANTITIES, find_method
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Above, Target, TargetOption, resolve_target
from camserve.explain.attributing import Seen
from camserve.explain.looking import Observation, classes_meant, rival_of
from camserve.explain.run import Run
from camserve.explanation.contributions import Account
from camserve.geometry.frame import Frame, native
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier
from camserve.models.compiled.closed import Closed
from camserve.models.inputs.preprocessing import to_array
from camserve.system.deadlines import check_deadline

Float32 = npt.NDArray[np.float32]
Targets = int | Above | Sequence[TargetOption]

EXACT = "cam"


def is_closed(model: Classifier, targets: Targets, options: ExplainOptions) -> bool:
    """Whether this request has a closed form that needs no torch network."""
    if model.closed is None or options.output_stride is not None or options.sharp:
        return False
    own_layer = all(layer in (None, model.closed.name) for layer in options.layers) and len(options.layers) == 1
    by_function = not isinstance(targets, int | Above) and any(map(callable, targets))
    exact = options.method in (None, AUTO, EXACT) and (options.quantity or QUANTITIES[0]) == QUANTITIES[0]
    return own_layer and exact and not by_function


def seen_closed(
    model: Classifier, photo: Photo, frame: Frame, own: Frame | None, targets: Targets, expected: int | None, run: Run
) -> Seen:
    """Observe a photograph for each target. own: the frame whose logits decide which class is predicted."""
    closed = _closed(model)
    activations, logits = _observed(model, photo, frame, run)
    decided = logits if own is None else _observed(model, photo, own, run)[1]
    account = _account(closed, closed.summed(activations), frame.input)
    shown = account if closed.weight is not None else replace(account, activations=activations)
    seen = []
    for option in classes_meant(model, decided, targets) if isinstance(targets, int | Above) else targets:
        target = resolve_target(option, decided, model.labels, QUANTITIES[0], expected)
        seen.append([_observation(closed, account, shown, target, logits, decided)])
    return Seen(seen, None if own is None else decided)


def class_maps_closed(model: Classifier, photo: Photo, frame: Frame, run: Run) -> Float32:
    """The CAM of every class, float32 (C, h, w), in logits."""
    closed = _closed(model)
    activations, _ = _observed(model, photo, frame, run)
    if closed.weight is None:
        return activations
    channels, *grid = activations.shape
    maps: Float32 = (closed.weight @ activations.reshape(channels, -1)).reshape(-1, *grid)
    return maps


def _closed(model: Classifier) -> Closed:
    assert model.closed is not None  # the callers check this
    return model.closed


def _observed(model: Classifier, photo: Photo, frame: Frame, run: Run) -> tuple[Float32, Float32]:
    check_deadline()
    images = to_array(photo, frame, model.card.input)
    maps, logits = run.forward(_closed(model), images)
    return maps, logits


def _account(closed: Closed, activations: Float32, size: tuple[int, int]) -> Account:
    height, width = activations.shape[1:]
    return Account(activations, closed.weight, closed.bias, closed.placement(native(size), (width, height)))


def _observation(
    closed: Closed, account: Account, shown: Account, target: Target, logits: Float32, decided: Float32
) -> Observation:
    method, added = find_method(EXACT), shown.of_target(target)
    own = account.class_map(target.index)
    residual = abs(float(own.mean() + account.bias[target.index] - logits[target.index]))
    value = float(sum(factor * float(logits[index]) for index, factor in target.terms or ()))
    rival = rival_of(method, closed.head.kind, target, account, logits)
    grid_map = added.astype(np.float32)
    return Observation(closed, method, grid_map, logits, decided, target, value, residual, account, 1.0, rival)
