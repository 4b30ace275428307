"""What a method would take on a model, and whether it goes with it at all, before anybody waits for it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from camserve.catalogue.method import Part, Sizes
from camserve.catalogue.methods import METHODS
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.explain.observation import choose_method, evidence_of, stage_ends
from camserve.graph.devices import structured
from camserve.methods.apply import apply
from camserve.models.classifier import Classifier
from camserve.models.layer import Layer

# How often something is run to find out how long it takes; the first time may prepare something.
_TIMES = 3
# Runs of the network that are worth it to find out whether a method goes with a model.
_FEW = 10


@dataclass(frozen=True)
class Pace:
    """Seconds that one image takes, by what is run. pixels: of the images that it was measured with."""

    seconds: Mapping[Part, float]
    pixels: int


def pace_of(model: Classifier, layer: str | None = None) -> Pace:
    """How fast the network is on this machine, measured in a few passes. To be called on a worker."""
    chosen, together = model.layer(layer), model.settings.compute.batch if model.network.given.together > 1 else 1
    images = _images(model, together)
    activations, carried, logits = chosen.observe(images)
    evidence = evidence_of(model, chosen, images, class_target(0), (activations, carried, logits))
    runs: dict[Part, Callable[[], object]] = {
        Part.NETWORK: lambda: chosen.observe(images),
        Part.GRADIENTS: evidence.image_gradients,
        Part.HEAD: lambda: chosen.head.logits(activations, carried),
    }
    seconds = {part: min(_timed(run) for _ in range(_TIMES)) / together for part, run in runs.items()}
    return Pace(seconds, images.shape[-1] * images.shape[-2])


def _timed(run: Callable[[], object]) -> float:
    """The seconds that it takes; infinite where the network cannot do that."""
    start = time.perf_counter()
    try:
        run()
    except (OptionError, RuntimeError):  # no gradients
        return math.inf
    return time.perf_counter() - start


def seconds_of(
    model: Classifier, options: ExplainOptions, original: tuple[int, int], pace: Pace, targets: int = 1
) -> float:
    """About how many seconds an explanation of a photograph of `original` (W, H) takes beside its first forward pass.

    options: of these the method, layers and size count. targets: how many classes are explained. Raises OptionError,
    UnknownName.
    """
    width, height = model.frame(original, options.size).input
    total = 0.0
    for name in options.layers:
        layer = model.layer(name, options.output_stride)
        cost = choose_method(options.method or model.settings.explain.method, layer).cost
        runs = cost.runs(_sizes(model, layer, (width, height)))
        total += runs * pace.seconds[cost.of] if runs and cost.of else 0
    return total * width * height / pace.pixels * targets


def _sizes(model: Classifier, layer: Layer, size: tuple[int, int]) -> Sizes:
    """What a cost depends on, at a layer, for an input of `size` (W, H)."""
    layers, (across, down) = model.layers(), layer.stride
    cells = math.ceil(size[0] / across) * math.ceil(size[1] / down)
    stages = tuple(layers[name][0] for name in stage_ends(layers, layer.name))
    return Sizes(layers[layer.name][0], cells, layer.head.kind, stages)


def reasons(model: Classifier) -> dict[str, str]:
    """Why a method does not go with the model, by name, of those that are tried: what takes a few passes at most.

    They are tried at the model's own layer on an image that shows nothing. To be called on a worker.
    """
    layer, images = model.layer(), _images(model, 1)
    seen = layer.observe(images)
    evidence = evidence_of(model, layer, images, class_target(0), seen)
    sizes = _sizes(model, layer, (images.shape[-1], images.shape[-2]))
    found = {}
    for method in METHODS.values():
        if method.cost.runs(sizes) <= _FEW:
            try:
                apply(method, evidence)
            except OptionError as error:
                found[method.name] = str(error)
    return found


def _images(model: Classifier, count: int) -> torch.Tensor:
    """Images that show nothing, (count, 3, H, W), of the size trained at."""
    return structured(model.network.given, *model.own_frame((64, 64)).input, count)
