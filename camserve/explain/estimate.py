"""Estimate how long each method takes on a photograph: time a run of each kind; the registry says how many it needs."""

import time
from collections.abc import Callable

import torch

from camserve.catalogue.method import Facts, Runs
from camserve.catalogue.methods import METHODS
from camserve.catalogue.options import ExplainOptions
from camserve.errors import OptionError, SizeError
from camserve.explain.observation import image_gradients, stage_ends
from camserve.explain.run import Run
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier
from camserve.models.inputs.preprocessing import to_input
from camserve.models.layer import Layer

ENOUGH = 0.5  # seconds after which a run is not timed again


def estimate(model: Classifier, photo: Photo, options: ExplainOptions, run: Run) -> dict[str, float]:
    """Estimate the seconds that each method takes, by name; several layers are added up.

    options: layer, size and output_stride are used. run: only its workers are used. Costs a few forward passes and one
    to three backward passes. Raises the errors of wrong options.
    """
    frame = model.frame(photo.size, options.size or model.settings.explain.size)
    workers = run.workers or model.workers
    try:
        return workers.run(lambda: _of(model, to_input(photo, frame, model.card.input), options))
    except SizeError:  # `explain` does the same if the caller chose no size
        own = model.own_frame(photo.size)
        return workers.run(lambda: _of(model, to_input(photo, own, model.card.input), options))


def _of(model: Classifier, pixels: torch.Tensor, options: ExplainOptions) -> dict[str, float]:
    layers = [model.layer(name, options.output_stride) for name in options.layers]
    measured = [_measured(model, layer, pixels) for layer in layers]
    return {name: sum(method.cost.seconds(*one) for one in measured) for name, method in METHODS.items()}


def facts_of(model: Classifier, layer: Layer, activations: torch.Tensor, channels: int) -> Facts:
    """Return the numbers that costs depend on, at a layer with activations (1, K, h, w). channels: K that vary."""
    shapes = model.layers()
    stages = tuple(shapes[name][0] for name in stage_ends(shapes, layer.name))
    return Facts(channels, activations[0, 0].numel(), layer.head.kind, stages)


def _measured(model: Classifier, layer: Layer, pixels: torch.Tensor) -> tuple[Facts, dict[Runs, float]]:
    """Return the numbers that costs depend on, and the seconds of one run of each kind on this input."""
    activations, carried, _ = layer.observe(pixels)
    together = model.settings.compute.batch if model.network.given.together > 1 else 1
    several = pixels.expand(together, -1, -1, -1).contiguous()
    layer.observe(several)  # the first run of a size also prepares the engine
    seconds = {
        Runs.FORWARD: _seconds(lambda: layer.observe(several)[2]) / together,
        Runs.HEAD: _seconds(lambda: layer.head.logits(activations, carried)),
    }
    try:
        seconds[Runs.GRADIENT] = _seconds(lambda: _gradient(model, layer, pixels.to(activations.device)))
    except (OptionError, RuntimeError):  # methods of gradients do not work with this network
        seconds[Runs.GRADIENT] = 3 * seconds[Runs.FORWARD]
    low, high = activations[0].amin((1, 2)), activations[0].amax((1, 2))
    return facts_of(model, layer, activations, int((high > low).sum())), seconds


def _gradient(model: Classifier, layer: Layer, pixels: torch.Tensor) -> torch.Tensor:
    return image_gradients(model, layer, pixels, lambda logits: logits.amax(1))


def _seconds(work: Callable[[], torch.Tensor]) -> float:
    """Return the seconds until the result can be read: the best of three runs, of fewer if a run takes long."""
    start, best = time.perf_counter(), float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        work().cpu()  # the call ends before a GPU has the result
        now = time.perf_counter()
        best = min(best, now - begun)
        if now - start > ENOUGH:
            break
    return best
