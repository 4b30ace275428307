"""What is explained in closed form: one run of the network, and arithmetic. No torch.

A layer whose class maps add up to the logits, where its cells lie, and what runs it. `ClosedFile` has it of a model
file, `camserve.models.compiled.closed_network` of a card's network that OpenVINO runs.
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

# How far a map's account of a logit may be from the logit, as a share of it, by precision. In float32 as of every
# network (`camserve.graph.original.agreement`); in bfloat16 numbers are 0.4 % apart, and the embedded model's differ by
# up to 2 % (test_engines.py).
# In int8 what adds up, pooling and classifier, is in float32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05, "int8": 1e-4}


class HeadFacts(NamedTuple):
    """What explanations say of a head."""

    kind: HeadKind


@dataclass(frozen=True)
class EngineFacts:
    """What runs the network, as explanations say it."""

    precision: str
    tolerance: float
    name: str = "openvino"


class Closed(ABC):
    """The one layer of a network whose class maps add up to its logits.

    name: of the layer. head, engine: facts about them. weight: (C, K), None where the layer is a class map. bias: (C,).
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
        """C of the logits."""
        return len(self.bias)

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Where the cells sit in a photograph; see `camserve.geometry.cells`."""
        return self.cells.placement(frame, grid, centred=centred)

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """The receptive field; see there."""
        return self.cells.field(side, axis)

    def summed(self, maps: Float32) -> Float32:
        """What is averaged of the maps (K, h, w)."""
        return maps

    @abstractmethod
    def observe(self, images: Float32) -> tuple[Float32, Float32]:
        """(1, c, H, W) -> what each place holds, (K, h, w); logits (C,).

        Raises SizeError where that size is not taken.
        """

    @abstractmethod
    def forget_sizes(self) -> None:
        """Let go of what is kept to be quick with sizes of input that have come before."""
