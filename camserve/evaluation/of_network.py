"""Checks of the network and of the engine that runs it: trained, steady, cut, engine, repeats, batches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camserve.catalogue.methods import find_method
from camserve.catalogue.targets import Target
from camserve.errors import first_line
from camserve.evaluation.bench import Bench
from camserve.evaluation.check import Check, Limit, held, untold
from camserve.explain.diagnosis import doubt
from camserve.explain.observation import evidence_of
from camserve.graph.differentiation import steady as as_torch_should
from camserve.graph.differentiation import writing_allowed
from camserve.graph.layout import layouts_of
from camserve.graph.original.agreement import TOLERANCE, apart
from camserve.graph.original.given import Given
from camserve.graph.original.state import same_chance
from camserve.methods.apply import apply
from camserve.models.engines.engine import AGREEMENTS

# The least share of the logits' variance that is between pictures. Untrained convolutional networks give every picture
# nearly the same logits (ResNet-18 0.006); trained ones do not (docs/sanity.md).
LEAST_CHANGE = 0.02
# With fewer classes, the pictures may all be of one class, and then their logits may be nearly equal.
FEWEST_CLASSES = 8
# The largest allowed difference between two float32 computations of the same network, as a share of the largest value.
# Measured: 0 to 4e-6 (docs/sanity.md).
AS_AUTOGRAD = 1e-3


def trained(bench: Bench) -> Check:
    """Check whether the network is trained, by its card, its batch norms and its answers."""
    said = next(doubt(bench.model.card), None)
    if said is not None:
        return Check("trained", False, {}, None, said)
    module = bench.model.module
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    fresh = sum(map(_is_as_made, norms))
    if norms and fresh == len(norms):
        said = "no batch normalisation has ever seen a picture: the weights are those of an untrained network"
        return Check("trained", False, {"fresh norms": fresh}, None, said)
    if len(bench.photos) < 2:
        return untold("trained", "one picture cannot show whether answers differ; give several")
    numbers = {"change": round(_change(bench.logits), 6), "fresh norms": fresh}
    limit = Limit("change", least=LEAST_CHANGE)
    if not limit.holds(numbers) and not (bench.are_photographs and bench.logits.shape[1] >= FEWEST_CLASSES):
        return untold(
            "trained", "these pictures get nearly the same answer; give photographs of several classes", numbers
        )
    good = "answers differ from picture to picture"
    return held("trained", numbers, limit, good, "every picture gets nearly the same answer: it looks untrained")


def _is_as_made(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and not bool(mean.any()) and bool((variance == 1).all())


def _change(logits: Tensor) -> float:
    """The share of the variance of logits (N, C), minus each picture's mean, that is between pictures: 0..1."""
    values = logits.double() - logits.double().mean(1, keepdim=True)
    whole = float(values.square().mean())
    return float((values - values.mean(0)).square().mean()) / whole if whole > 0 else 0.0


def steady(bench: Bench) -> Check:
    """Check whether the user's own module gives the same answer for the same input, as it does in evaluation mode."""
    given, images = bench.model.network.given, bench.inputs[0]
    training = sum(part.training for part in bench.model.module.modules())

    def asked(seed: int) -> Tensor:
        with torch.no_grad(), same_chance(seed), given.network() as network:
            return given.ask(network, images)

    first, *others = bench.run(lambda: [asked(seed) for seed in range(4)])
    numbers = {"difference": max(apart(other, first) for other in others), "parts in training mode": training}
    return held(
        "steady",
        numbers,
        Limit("difference", most=TOLERANCE),
        "the network gives the same answer for the same picture each time",
        "the same picture gets another answer each time: dropout, or another random layer, is left on",
    )


def cut(bench: Bench) -> Check:
    """Compare the network cut at the layer with plain hooks and torch.autograd on the user's own module."""
    model, layer, given = bench.model, bench.layer, bench.model.network.given
    if given.is_random:
        return untold("autograd", "the network answers differently each time, so two computations cannot be compared")
    if layer.name not in dict(given.module.named_modules()):
        return untold("autograd", f"layer '{layer.name}' is not a module, so a plain hook cannot watch it")
    images, target = bench.inputs[0], bench.targets[0]

    def compared() -> dict[str, float]:
        seen = layer.on_torch(images)
        evidence = evidence_of(model, layer, images, target, seen)
        ours = apply(find_method("gradcam"), evidence)[0]
        logits, activations, gradients = plain(given, layer.name, images, target, seen[0].shape)
        theirs = (gradients.mean((2, 3), keepdim=True) * activations).sum(1)[0]
        return {
            "logits": apart(seen[2], logits),
            "activations": relative(seen[0], activations),
            "gradients": relative(layer.head.gradients(seen[0], target, seen[1]), gradients),
            "Grad-CAM": relative(ours, theirs),
        }

    try:
        numbers = bench.run(compared)
    except RuntimeError as error:
        return untold("autograd", f"torch cannot differentiate the module itself: {first_line(error)}")
    numbers = {"difference": max(numbers.values()), **numbers}
    return held(
        "autograd",
        numbers,
        Limit("difference", most=AS_AUTOGRAD),
        "hooks and autograd on your own module give the same logits, activations, gradients and Grad-CAM",
        "hooks and autograd on your own module give other results: the cut network differs from yours",
    )


def plain(given: Given, name: str, images: Tensor, target: Target, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (1, C), activations and gradients (1, K, h, w) of a module, by one forward hook and one backward pass.

    shape: the shape of the activations; tokens are laid out in this shape. Raises RuntimeError if autograd fails.
    """
    kept: list[Tensor] = []

    def keep(part: nn.Module, inputs: object, output: Any) -> Any:
        several = isinstance(output, tuple)
        value = output[0] if several else output
        kept.append(value)  # the next layer gets a copy, because a ReLU in place would change the kept value
        return (value.clone(), *output[1:]) if several else value.clone()

    with torch.enable_grad(), writing_allowed(), given.network() as network:
        handle = network.get_submodule(name).register_forward_hook(keep)
        try:
            logits = given.ask(network, images.clone().requires_grad_())
        finally:
            handle.remove()
        (gradient,) = torch.autograd.grad(as_torch_should(target(logits).sum()), kept[-1])
    size, grid = (images.shape[-1], images.shape[-2]), (shape[-1], shape[-2])
    value = kept[-1].detach()
    laid = [layout for layout, _ in layouts_of(tuple(value.shape), size, {grid})]
    layout = next(one for one in laid if one.as_map(value, size).shape == shape)
    return logits.detach(), layout.as_map(value, size), layout.as_map(gradient, size)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    largest = float(theirs.abs().max())
    missing = float((ours.double() - theirs.double()).abs().max())
    return missing / largest if largest > 0 else missing


def engine(bench: Bench) -> Check:
    """Compare logits and map of the engine in use with torch in float32."""
    found = bench.explanations[0]
    name, precision = found.origin.engine, found.origin.precision
    if name == "torch":
        return untold("engine", "torch itself runs the network")
    layer, images = bench.layer, bench.inputs[0]
    seen = bench.run(lambda: layer.on_torch(images))
    theirs = bench.map(images, found.target, seen=seen)
    numbers = {
        "logits": apart(torch.from_numpy(found.logits)[None], seen[2]),
        "map": relative(torch.from_numpy(found.map), torch.from_numpy(theirs)),
    }
    numbers = {"difference": max(numbers.values()), **numbers}
    return held(
        "engine",
        numbers,
        Limit("difference", most=max(AGREEMENTS[precision])),
        f"{name} ({precision}) gives the logits and the map of torch in float32",
        f"{name} ({precision}) gives other logits or another map than torch in float32",
    )


def repeats(bench: Bench) -> Check:
    """Check whether two explanations of the same picture have the same bits."""
    first, again = bench.explanations[0], bench.explained(bench.photos[0])
    differing = int((first.map != again.map).sum()) + int((first.logits != again.logits).sum())
    return held(
        "repeats",
        {"other values": differing, "largest": float(np.abs(first.map - again.map).max())},
        Limit("other values", most=0),
        "explaining a picture twice gives the same bits",
        "explaining a picture twice gives two maps",
    )


def batches(bench: Bench) -> Check:
    """Check whether two pictures in one batch get the same answers as one by one."""
    if bench.model.network.given.is_random:
        return untold("batches", "the network answers differently each time")
    if bench.model.network.given.together == 1 or len(bench.inputs) < 2:
        return untold("batches", "there are no two pictures that the network takes in one batch")
    if bench.inputs[0].shape != bench.inputs[1].shape:
        return untold("batches", "the pictures give inputs of several sizes")
    pair = torch.cat(bench.inputs[:2])
    layer = bench.layer
    both, *alone = bench.run(lambda: [layer.observe(one) for one in (pair, *bench.inputs[:2])])
    numbers = {
        "logits": apart(both[2], torch.cat([one[2] for one in alone])),
        "activations": relative(both[0], torch.cat([one[0] for one in alone])),
    }
    numbers = {"difference": max(numbers.values()), **numbers}
    return held(
        "batches",
        numbers,
        Limit("difference", most=max(AGREEMENTS[layer.engine.precision])),
        "a picture gets the same answer alone and in a batch",
        "a picture's answer depends on the others in its batch: a batch normalisation may be left in training mode",
    )
