"""One pass of one input through a model, looked at in one layer: what a worker does."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from camserve.catalogue.class_names import resolve_class
from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Method
from camserve.catalogue.methods import AUTO, find_method
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Target, TargetOption, resolve_target
from camserve.errors import OptionError
from camserve.explain.run import Observed, Run
from camserve.explanation.class_scores import ranked
from camserve.explanation.contributions import Account
from camserve.geometry.frame import Frame, Placement, native, resample, spreading
from camserve.graph.heads import TargetFunction
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence, Progress, Whole, class_probabilities
from camserve.models.classifier import Classifier
from camserve.models.layer import Layer
from camserve.system.workers import check_deadline

Float32 = npt.NDArray[np.float32]

# Methods whose map is the class map, but for a factor, by kind of head.
CLASS_MAPS = defaultdict(
    tuple, {HeadKind.LINEAR: ("cam", "gradcam", "hirescam", "xgradcam"), HeadKind.CLASS_MAP: ("cam",)}
)

# What methods of probabilities look at, by `scores` of the card: of numbers that are no classes, at the numbers.
PROBABILITIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": class_probabilities, "sigmoid": torch.sigmoid, "none": lambda numbers: numbers,
}  # fmt: skip


@dataclass(frozen=True)
class Observation:
    """What one layer showed.

    map: float32 (h, w), raw. logits: float32 (C,). decided: the logits (C,) that say which class is predicted. value,
    completeness: as in Attribution. steepness: see `steepness`.
    account: of the layer without dilation, its cells placed in the network's input.
    rival: the class with the highest logit but for the explained one, and its map (h, w), where both are closed forms.
    """

    layer: Layer
    method: Method
    map: Float32
    logits: Float32
    decided: Float32
    target: Target
    value: float | None
    completeness: float | None
    account: Account | None
    steepness: float | None = 1.0
    rival: tuple[int, Float32] | None = None

    def placement(self, frame: Frame) -> Placement:
        """Where the map's cells lie in the photograph that `frame` made the input of."""
        grid = self.map.shape[1], self.map.shape[0]
        if self.method.lattice == "input":
            return Placement(frame, grid, (1.0, 1.0), (0.0, 0.0), "input")
        return self.layer.placement(frame, grid)


def observe(
    model: Classifier,
    pixels: torch.Tensor,
    targets: int | Sequence[TargetOption],
    layer: str | None,
    options: ExplainOptions,
    run: Run,
    own: Float32 | None = None,
) -> list[Observation]:
    """Run `model` on pixels (1, 3, h, w) once and apply a method at a layer, for each target.

    targets: or a number: so many of the best classes. own: the logits (C,) that say which are the best, where they are
    not those of `pixels`. With output_stride the map comes from the dilated network, decision and logits from the
    network as it is.
    """
    plain = chosen = model.layer(layer)
    activations, carried, logits = run.forward(plain, pixels)
    answered = logits
    size, answers = (pixels.shape[-1], pixels.shape[-2]), logits[0].cpu().numpy()
    account = on_lattice = account_of(plain, activations, size)
    if options.output_stride is not None:
        chosen = model.layer(layer, options.output_stride)
        activations, carried, answered = run.forward(chosen, pixels)
        on_lattice = account_of(chosen, activations, size)
    method = choose_method(options.method or AUTO, chosen)
    across, down = (_ratio(plain, chosen, axis) for axis in (0, 1))
    seen, expected, decided = [], expected_index(options, model.labels), answers if own is None else own
    for option in best_classes(decided, targets) if isinstance(targets, int) else targets:
        target = resolve_target(option, decided, model.labels, options.quantity, expected)
        evidence = evidence_of(model, chosen, pixels, target, (activations, carried, answered), run.progress)
        residual = rival = None
        if on_lattice is not None:
            adds_up_to = on_lattice.class_map(target.index)[::down, ::across].mean() + on_lattice.bias[target.index]
            residual = abs(float(adds_up_to - answers[target.index]))
            rival = _rival(method, chosen, target, on_lattice, answers)
        grid_map = apply(method, evidence)[0].cpu().numpy()
        steep, value = steepness(target, logits), value_of(target, logits)
        seen.append(
            Observation(chosen, method, grid_map, answers, decided, target, value, residual, account, steep, rival)
        )
    return seen


def expected_index(options: ExplainOptions, labels: Sequence[str]) -> int | None:
    """The class that the options say the image shows. Raises OptionError, UnknownName."""
    return None if options.expected is None else resolve_class(options.expected, labels, "expected")


def value_of(target: Target, logits: torch.Tensor) -> float | None:
    """What a target comes to at the logits (1, C) of one image; None for a function of the caller's."""
    if target.function is not None:  # it may cost anything, and count on the device of the network
        return None
    return float(target(logits)[0])


def _rival(how: Method, layer: Layer, target: Target, account: Account, logits: Float32) -> tuple[int, Float32] | None:
    if not target.is_class or how.name not in CLASS_MAPS[layer.head.kind] or len(logits) == 1:
        return None
    others = logits.copy()
    others[target.index] = -np.inf
    index = int(others.argmax())
    return index, account.class_map(index)


def best_classes(logits: Float32, count: int) -> list[int]:
    """The `count` classes with the highest logits (C,), best first. Raises OptionError for a count that is none."""
    if not 1 <= count <= len(logits):
        raise OptionError(f"{count} classes were asked for; the model has {len(logits)}, and 1 is the least")
    return ranked(logits)[:count]


def evidence_of(
    model: Classifier,
    layer: Layer,
    pixels: torch.Tensor,
    target: TargetFunction,
    seen: Observed,
    progress: Progress | None = None,
) -> Evidence:
    """What a method may ask about one observation. seen: what `Layer.observe` gave for it."""
    whole = Whole(
        images=pixels.to(seen[0].device),
        logits=lambda images: layer.observe(images)[2],
        network=model.network.whole,
        spread=lambda maps: _spread(layer, maps, (pixels.shape[-1], pixels.shape[-2])),
        stages=lambda: _stages(model, layer, pixels, target, progress),
        observe=lambda images: evidence_of(model, layer, images, target, layer.observe(images), progress),
        batch=model.settings.compute.batch if model.network.given.together > 1 else 1,
        progress=partial(_report, progress),
    )
    return Evidence(seen[0], layer.head, target, seen[1], whole, PROBABILITIES[model.card.scores], seen[2])


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
    """The last layer of each grid size up to `last`, fine grids first."""
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
    """The method of that name; "auto" takes the exact one where the head allows it."""
    if name == AUTO:
        name = "cam" if layer.head.kind.has_class_maps else "gradcam"
    return find_method(name)


def fuse(several: list[Observation], frame: Frame) -> tuple[Float32, Placement]:
    """One map of several layers, on the finest of their grids, and where that lies.

    Each map's positive part over its maximum, LayerCAM's through tanh(2 x) as its paper has it (Jiang et al. 2021,
    eq. 7); then the largest at each place. A single map stays as it is, raw and signed.
    """
    finest = min((one.placement(frame) for one in several), key=lambda place: place.stride)
    if len(several) == 1:
        return several[0].map, finest
    scaled = [_scaled(one) for one in several]
    placed = [resample(m, one.placement(frame), finest) for m, one in zip(scaled, several, strict=True)]
    return np.maximum.reduce(placed), finest


def _scaled(one: Observation) -> Float32:
    positive = np.maximum(one.map, 0)
    peak = positive.max()
    relative: Float32 = positive / peak if peak > 0 else positive
    return np.tanh(2 * relative) if one.method.name == "layercam" else relative


def _ratio(plain: Layer, dense: Layer, axis: int) -> int:
    """How many cells of the dense lattice there are for one of the plain one."""
    return round(plain.stride[axis] / dense.stride[axis])


def steepness(target: Target, logits: torch.Tensor) -> float | None:
    """The largest |dT/dS| over the logits S of one image, (1, C); None where autograd cannot tell.

    1 for a class's logit; 1 - p for its log-softmax; near 0 where the target hardly depends on the logits any more.
    """
    if target.function is None and target.quantity == "logit":
        return 1.0
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        value = target(leaf).sum()
        if not value.requires_grad:
            return None
        (slopes,) = torch.autograd.grad(value, leaf, allow_unused=True)
    return None if slopes is None else float(slopes.abs().max())


def account_of(layer: Layer, activations: torch.Tensor, size: tuple[int, int]) -> Account | None:
    """The account of one input's activations (1, K, h, w); None where the logits are no sums over places.

    size: (W, H) of the input, which is taken for the photograph until `Account.within` says otherwise.
    """
    summands = layer.head.summands(activations)
    if summands is None:
        return None
    height, width = summands.values.shape[1:]
    return Account(*summands, layer.placement(native(size), (width, height)))
