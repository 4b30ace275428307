"""One pass of one input through a model, observed at one layer. A worker does this."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from camserve.catalogue.method import Method, Progress
from camserve.catalogue.methods import AUTO, find_method
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Above, Target, TargetOption, resolve_target
from camserve.explain.looking import Observation, classes_meant, rival_of
from camserve.explain.run import Observed, Run
from camserve.explanation.contributions import Account
from camserve.geometry.frame import check_cells, native, spreading
from camserve.graph.differentiation import gradients
from camserve.graph.heads import TargetFunction
from camserve.methods.affinity import apply_shared
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence, Whole, class_probabilities
from camserve.models.classifier import Classifier
from camserve.models.layer import Layer
from camserve.system.deadlines import check_deadline
from camserve.system.spare_workers import shared_out

Float32 = npt.NDArray[np.float32]

# The function of the logits that methods of probabilities use, by `scores` of the card.
PROBABILITIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": class_probabilities, "sigmoid": torch.sigmoid, "none": lambda numbers: numbers,
    "embedding": lambda features: features,
}  # fmt: skip


@np.errstate(over="ignore", invalid="ignore")  # `diagnose` warns about a model that overflows
def observe(
    model: Classifier,
    pixels: torch.Tensor,
    targets: int | Above | Sequence[TargetOption],
    layer: str | None,
    options: ExplainOptions,
    run: Run,
    own: Float32 | None = None,
    expected: int | None = None,
    *,
    shared: bool = False,
) -> list[Observation]:
    """Run `model` on pixels (1, c, h, w) once and apply a method at a layer, for each target.

    targets: a list; or a number n, for the n best classes; or all classes above a score. own: the logits (C,) that
    decide which classes are best, if not those of `pixels`. expected: the class that the image shows, if known. shared:
    whether similar places share the map, see `camserve.methods.affinity`. With output_stride the map comes from the
    dilated network; decision and logits come from the unchanged network.
    """
    size = pixels.shape[-1], pixels.shape[-2]
    if options.output_stride is not None:
        check_cells(size, options.output_stride, model.settings.explain.max_cells)
    plain = chosen = model.layer(layer)
    activations, carried, logits = run.forward(plain, pixels)
    answered, answers = logits, logits[0].cpu().numpy()
    account = on_lattice = account_of(plain, activations, size)
    if options.output_stride is not None:
        chosen = model.layer(layer, options.output_stride)
        activations, carried, answered = run.forward(chosen, pixels)
        on_lattice = account_of(chosen, activations, size)
    method = choose_method(options.method or AUTO, chosen)
    across, down = (_ratio(plain, chosen, axis) for axis in (0, 1))
    seen, decided = [], answers if own is None else own
    for option in classes_meant(model, decided, targets) if isinstance(targets, int | Above) else targets:
        target = resolve_target(option, decided, model.labels, options.quantity or "logit", expected)
        evidence = evidence_of(model, chosen, pixels, target, (activations, carried, answered), run.progress)
        residual = rival = None
        if on_lattice is not None:
            adds_up_to = on_lattice.class_map(target.index)[::down, ::across].mean() + on_lattice.bias[target.index]
            residual = abs(float(adds_up_to - answers[target.index]))
            rival = rival_of(method, chosen.head.kind, target, on_lattice, answers)
        grid_map = apply_shared(method, evidence) if shared else apply(method, evidence)
        steep, value = steepness(target, logits), value_of(target, logits)
        seen.append(
            Observation(
                chosen,
                method,
                grid_map[0].cpu().numpy(),
                answers,
                decided,
                target,
                value,
                residual,
                account,
                steep,
                rival,
            )
        )
    return seen


def value_of(target: Target, logits: torch.Tensor) -> float | None:
    """Return the value of a target at the logits (1, C) of one image; None if the target is the caller's function."""
    if target.function is not None:  # it may be slow, and may need the device of the network
        return None
    return float(target(logits)[0])


def evidence_of(
    model: Classifier,
    layer: Layer,
    pixels: torch.Tensor,
    target: TargetFunction,
    seen: Observed,
    progress: Progress | None = None,
) -> Evidence:
    """Return what a method may ask about one observation. seen: the result of `Layer.observe`."""
    whole = Whole(
        images=pixels.to(seen[0].device),
        logits=lambda images: layer.observe(images)[2],
        network=model.network.whole,
        gradients=partial(image_gradients, model, layer),
        spread=lambda maps: _spread(layer, maps, (pixels.shape[-1], pixels.shape[-2])),
        stages=lambda: _stages(model, layer, pixels, target, progress),
        observe=lambda images: evidence_of(model, layer, images, target, layer.observe(images), progress),
        batch=model.settings.compute.batch if model.network.given.together > 1 else 1,
        progress=partial(_report, progress),
        steps=shared_out,
    )
    return Evidence(seen[0], layer.head, target, seen[1], whole, PROBABILITIES[model.card.scores], seen[2])


def image_gradients(model: Classifier, layer: Layer, images: torch.Tensor, target: TargetFunction) -> torch.Tensor:
    """Return d target / d images, (M, c, H, W), through torch's halves at the layer, else through the whole network."""
    if layer.gives_image_gradients:
        return layer.on_torch.image_gradients(images, target)
    return gradients(lambda leaf: target(model.network.whole(leaf[0])).sum(), [images])[0]


def _report(progress: Progress | None, done: int, total: int) -> None:
    check_deadline()
    if progress is not None:
        progress(done, total)


def _stages(
    model: Classifier, layer: Layer, pixels: torch.Tensor, target: TargetFunction, progress: Progress | None
) -> list[Evidence]:
    found = []
    for name in stage_ends(model.layers(), layer.name):
        stage = model.layer(name)
        found.append(evidence_of(model, stage, pixels, target, stage.observe(pixels), progress))
    return found


def stage_ends(layers: dict[str, tuple[int, ...]], last: str) -> list[str]:
    """Return the last layer of each grid size up to `last`, fine grids first."""
    ends: dict[tuple[int, ...], str] = {}
    for name, shape in layers.items():
        ends[shape[1:]] = name
        if name == last:
            break
    return list(ends.values())


def _spread(layer: Layer, maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    rows, columns = spreading(layer.placement(native(size), (maps.shape[-1], maps.shape[-2])))
    down, across = (torch.from_numpy(matrix).to(maps) for matrix in (rows, columns))
    return down @ maps @ across.T


def choose_method(name: str, layer: Layer) -> Method:
    """Return the method of that name; "auto" is cam if the head allows it, else gradcam."""
    if name == AUTO:
        name = "cam" if layer.head.kind.has_class_maps else "gradcam"
    return find_method(name)


def _ratio(plain: Layer, dense: Layer, axis: int) -> int:
    """Return how many cells of the dense lattice there are for one cell of the plain lattice."""
    return round(plain.stride[axis] / dense.stride[axis])


def steepness(target: Target, logits: torch.Tensor) -> float | None:
    """Return the largest |dT/dS| over the logits S of one image, (1, C); None if autograd cannot compute it.

    1 for a class's logit; 1 - p for its log-softmax; near 0 if the target hardly depends on the logits.
    """
    if target.is_linear:
        return 1.0
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        value = target(leaf).sum()
        if not value.requires_grad:
            return None
        (slopes,) = torch.autograd.grad(value, leaf, allow_unused=True)
    return None if slopes is None else float(slopes.abs().max())


def account_of(layer: Layer, activations: torch.Tensor, size: tuple[int, int]) -> Account | None:
    """Return the account of one input's activations (1, K, h, w); None if the logits are not sums over places.

    size: (W, H) of the input. The input counts as the photograph until `Account.within` places it.
    """
    summands = layer.head.summands(activations)
    if summands is None:
        return None
    height, width = summands.values.shape[1:]
    return Account(*summands, layer.placement(native(size), (width, height)))
