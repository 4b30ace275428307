"""A card's network that OpenVINO runs, explained in closed form. No torch.

What torch found out about it when it was met, how its head adds up and where its cells lie, is a few numbers and one
matrix; `camserve.models.compiled.kept_closed` keeps them beside the converted network, so that the next start needs no
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
    """What is known of a layer that adds up; see `Closed`.

    rectified: whether a ReLU comes between the layer and the mean. compiled: images -> its maps (1, K, h, w), logits
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
    """The closed form of a network. layer: gives the same on torch's terms, for what OpenVINO fails on."""

    def __init__(self, facts: ClosedFacts, layer: Callable[[], Layer]) -> None:
        super().__init__(
            facts.name, facts.kind, facts.weight, facts.bias, facts.cells, facts.engine, any_size=facts.any_size
        )
        self.multiple = facts.multiple
        self._rectified, self._compiled, self._layer = facts.rectified, facts.compiled, layer

    def summed(self, maps: Float32) -> Float32:
        """As `Closed` has it."""
        return np.maximum(maps, 0) if self._rectified else maps

    def observe(self, images: Float32) -> tuple[Float32, Float32]:
        """As `Closed` has it."""
        try:
            maps, logits = self._compiled(images)
        except RuntimeError:
            return self._by_layer(images)
        return maps[0], logits[0]

    def _by_layer(self, images: Float32) -> tuple[Float32, Float32]:
        """What the network's own layer says, which knows what to do, or to say, of a size that OpenVINO fails on."""
        import torch

        maps, _, logits = self._layer().observe(torch.from_numpy(images))
        return maps[0].numpy(), logits[0].numpy()

    def forget_sizes(self) -> None:
        """As `Closed` has it."""
        self._compiled.forget_sizes()


def closed_of(closed: Closed | ClosedFacts | None, layer: Callable[[], Layer]) -> Closed | None:
    """What a classifier asks. layer: its own, in torch."""
    return ClosedNetwork(closed, layer) if isinstance(closed, ClosedFacts) else closed


def facts_of(layer: Layer, *, any_size: bool, multiple: int) -> ClosedFacts | None:
    """The facts of a layer, as torch has found them out; None where OpenVINO does not run it, or nothing adds up."""
    if find_spec("openvino") is None:  # torch runs it
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
