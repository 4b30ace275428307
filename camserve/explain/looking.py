"""What one layer showed of one photograph, and which classes are explained. No torch."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from camserve.catalogue.class_names import resolve_class
from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Method
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Above, Target
from camserve.errors import OptionError, TooMuch, shown
from camserve.explanation.class_scores import ranked, scores_of
from camserve.explanation.contributions import Account
from camserve.geometry.frame import Frame, Pair, Placement, resample
from camserve.geometry.receptive_field import Field
from camserve.models.classifier import Classifier

Float32 = npt.NDArray[np.float32]

# By kind of head, the methods whose map is the class map times a factor.
_OF_CHANNELS = "cam", "gradcam", "hirescam", "xgradcam"
CLASS_MAPS = defaultdict[HeadKind, tuple[str, ...]](
    tuple, {HeadKind.LINEAR: _OF_CHANNELS, HeadKind.COSINE: _OF_CHANNELS, HeadKind.CLASS_MAP: ("cam",)}
)


class Looked(Protocol):
    """The observed layer: `camserve.models.layer.Layer`, or a model file in closed form.

    name, head (its kind), engine (its name, precision and tolerance), trained, stride: as in Layer.
    """

    name: str
    head: Any
    engine: Any
    trained: tuple[int, int]

    @property
    def stride(self) -> Pair:
        """Input pixels between neighbouring cells, (x, y)."""
        ...

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Return where the cells lie in a photograph."""
        ...

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """Return the receptive field."""
        ...


@dataclass(frozen=True)
class Observation:
    """What one layer showed.

    map: float32 (h, w), raw. logits: float32 (C,). decided: the logits (C,) that decide which class is predicted.
    value, completeness: as in Attribution. steepness: see `steepness`.
    account: of the layer without dilation; its cells are placed in the network's input.
    rival: the class with the highest logit except the explained class, and its map (h, w), if both have a closed form.
    """

    layer: Looked
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
        """Return where the map's cells lie in the photograph. frame: how the photograph became the input."""
        grid = self.map.shape[1], self.map.shape[0]
        if self.method.lattice == "input":
            return Placement(frame, grid, (1.0, 1.0), (0.0, 0.0), "input")
        return self.layer.placement(frame, grid)


def expected_index(options: ExplainOptions, labels: Sequence[str]) -> int | None:
    """Return the index of the class in the option `expected`. Raises OptionError, UnknownName."""
    return None if options.expected is None else resolve_class(options.expected, labels, "expected")


def rival_of(
    how: Method, kind: HeadKind, target: Target, account: Account, logits: Float32
) -> tuple[int, Float32] | None:
    """Return the class with the highest logit except the explained class, and its map, if both have a closed form."""
    if not target.is_class or how.name not in CLASS_MAPS[kind] or len(logits) == 1:
        return None
    others = logits.copy()
    others[target.index] = -np.inf
    index = int(others.argmax())
    return index, account.class_map(index)


def classes_meant(model: Classifier, logits: Float32, targets: int | Above) -> list[int]:
    """Return the n best classes, or all above a score, best first. logits: (C,). Raises OptionError, TooMuch."""
    if isinstance(targets, int):
        return best_classes(logits, targets)
    if not model.card.has_scores:
        raise OptionError(
            f"'{model.name}' gives numbers, not scores, so 'above {targets.score:g}' selects no class: name classes"
        )
    scores, order = scores_of(logits, each_alone=model.card.scores == "sigmoid"), ranked(logits)
    found = [index for index in order if scores[index] >= targets.score]
    if not found:
        raise OptionError(
            f"no class has a score of {targets.score:g} or more; the best class, '{model.labels[order[0]]}', has "
            f"{scores[order[0]]:.2f}"
        )
    if targets.most is not None and len(found) > targets.most:
        raise TooMuch(
            f"{len(found)} classes have a score of {targets.score:g} or more; allowed are {targets.most} "
            f"({targets.setting})"
        )
    return found


def best_classes(logits: Float32, count: int) -> list[int]:
    """Return the `count` classes with the highest logits (C,), best first. Raises OptionError for a wrong count."""
    if not 1 <= count <= len(logits):
        raise OptionError(f"{shown(count)} classes were asked for; the model has {len(logits)}; ask for 1 or more")
    return ranked(logits)[:count]


def fuse(several: list[Observation], frame: Frame) -> tuple[Float32, Placement]:
    """Combine the maps of several layers on the finest of their grids. Returns the map and its placement.

    The positive part of each map is divided by its maximum; for LayerCAM, tanh(2 x) follows, as in its paper (Jiang et
    al. 2021, eq. 7). The result is the largest value at each place. A single map is returned raw and signed.
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
