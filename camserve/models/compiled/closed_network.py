"""A card's network that OpenVINO runs, explained in closed form. No torch.

At the first start, torch finds how the head adds up and where the cells lie. This is a few numbers and one matrix.
`camserve.models.compiled.kept_closed` saves them beside the converted network, so that the next start needs no
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camserve.catalogue.head_kinds import HeadKind
from camserve.geometry.cells import Cells
from camserve.models.compiled.closed import Closed, EngineFacts

if TYPE_CHECKING:
    from camserve.models.engines.compiled_model import Compiled
    from camserve.models.layer import Layer

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClosedFacts:
    """The facts about a layer whose maps add up to the logits; see `Closed`.

    rectified: whether there is a ReLU between the layer and the mean. compiled: images -> maps (1, K, h, w) and logits
    (1, C).
    """

    name: str
    kind: HeadKind
    rectified: bool
    weight: Float32 | None
    bias: Float32
    cells: Cells
    engine: EngineFacts
    any_size: bool
    multiple: int
    compiled: Compiled


class ClosedNetwork(Closed):
    """The closed form of a network. layer: the same layer in torch, for inputs on which OpenVINO fails."""

    def __init__(self, facts: ClosedFacts, layer: Callable[[], Layer]) -> None:
        super().__init__(
            facts.name, facts.kind, facts.weight, facts.bias, facts.cells, facts.engine, any_size=facts.any_size
        )
        self.multiple = facts.multiple
        self._rectified, self._compiled, self._layer = facts.rectified, facts.compiled, layer

    def summed(self, maps: Float32) -> Float32:
        """As in `Closed`."""
        return np.maximum(maps, 0) if self._rectified else maps

    def observe(self, images: Float32) -> tuple[Float32, Float32]:
        """As in `Closed`."""
        try:
            maps, logits = self._compiled(images)
        except RuntimeError:
            return self._by_layer(images)
        return maps[0], logits[0]

    def _by_layer(self, images: Float32) -> tuple[Float32, Float32]:
        """The answer of the layer in torch. It handles, or explains, sizes on which OpenVINO fails."""
        import torch

        maps, _, logits = self._layer().observe(torch.from_numpy(images))
        return maps[0].numpy(), logits[0].numpy()

    def forget_sizes(self) -> None:
        """As in `Closed`."""
        self._compiled.forget_sizes()


def closed_of(closed: Closed | ClosedFacts | None, layer: Callable[[], Layer]) -> Closed | None:
    """The closed form as an object, made from facts if necessary. layer: the classifier's own layer, in torch."""
    return ClosedNetwork(closed, layer) if isinstance(closed, ClosedFacts) else closed


def facts_of(layer: Layer, *, any_size: bool, multiple: int) -> ClosedFacts | None:
    """The facts about a layer, found by torch; None if OpenVINO does not run it, or if its maps do not add up."""
    if find_spec("openvino") is None:  # then torch runs it
        return None
    from camserve.models.engines.openvino_engine import OpenVinoEngine

    engine = layer.engine
    if not isinstance(engine, OpenVinoEngine):
        return None
    kind, (values, carried, _) = layer.head.kind, layer.on_torch(layer.image())
    summands = layer.head.summands(values)
    if summands is None or carried or kind not in (HeadKind.LINEAR, HeadKind.CLASS_MAP):
        return None
    return ClosedFacts(
        layer.name,
        kind,
        bool(getattr(layer.head, "rectified", False)),
        summands.weight,
        summands.bias,
        layer.cells,
        EngineFacts(engine.precision, engine.tolerance),
        any_size,
        multiple,
        engine.observed,
    )
