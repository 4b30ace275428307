"""Explanations in closed form: one run of the network, and arithmetic. No torch.

It needs a layer whose class maps add up to the logits, the place of its cells, and an engine. `ClosedFile` has them for
a model file, `camserve.models.compiled.closed_network` for a card's network that OpenVINO runs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.catalogue.head_kinds import HeadKind
from camserve.geometry.cells import Cells
from camserve.geometry.frame import Frame, Pair, Placement
from camserve.geometry.receptive_field import Field

Float32 = npt.NDArray[np.float32]

# Largest difference between a logit and the sum of its map, as a share of the logits' spread, by precision. float32: as
# for every network (`camserve.graph.original.agreement`). bfloat16: its numbers are 0.4 % apart, and the embedded model
# differs by up to 2 % (test_engines.py). int8: pooling and classifier, which make the sum, are in float32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05, "int8": 1e-4}


class HeadFacts(NamedTuple):
    """The facts about a head that explanations report."""

    kind: HeadKind


@dataclass(frozen=True)
class EngineFacts:
    """The facts about the engine that explanations report."""

    precision: str
    tolerance: float
    name: str = "openvino"


class Closed(ABC):
    """The one layer of a network whose class maps add up to its logits.

    name: of the layer. head, engine: facts about them. weight: (C, K), None if the layer is a class map. bias: (C,).
    cells: where they lie. trained: (w, h). takes_any_size, multiple, is_extended: as in
    `camserve.graph.network.Network`.
    """

    multiple, is_extended = 1, False

    def __init__(
        self,
        name: str,
        kind: HeadKind,
        weight: Float32 | None,
        bias: Float32,
        cells: Cells,
        engine: EngineFacts,
        *,
        any_size: bool,
    ) -> None:
        self.name, self.head, self.engine, self.trained = name, HeadFacts(kind), engine, cells.trained
        self.weight, self.bias, self.cells, self.takes_any_size = weight, bias, cells, any_size

    @property
    def stride(self) -> Pair:
        """Input pixels between neighbouring cells, (x, y)."""
        return self.cells.stride

    @property
    def classes(self) -> int:
        """C, the number of logits."""
        return len(self.bias)

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Where the cells sit in a photograph; see `camserve.geometry.cells`."""
        return self.cells.placement(frame, grid, centred=centred)

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """The receptive field; see `camserve.geometry.cells`."""
        return self.cells.field(side, axis)

    def summed(self, maps: Float32) -> Float32:
        """The values whose mean gives the logits, from the maps (K, h, w)."""
        return maps

    @abstractmethod
    def observe(self, images: Float32) -> tuple[Float32, Float32]:
        """(1, c, H, W) -> the layer's maps (K, h, w) and the logits (C,).

        Raises SizeError if the network does not take this size.
        """

    @abstractmethod
    def forget_sizes(self) -> None:
        """Clear caches for input sizes seen before."""
