"""What a Model asks of its network: which layers there are, and the two halves at one of them.

`camserve.network` gives it for networks that torch.fx traces, `camserve.hooked` for all others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from camserve.receptive import Field


@dataclass(frozen=True)
class Halves:
    """A network cut at a layer.

    body: images (N, 3, H, W) -> (activations (N, K, h, w), carried). head: (activations, *carried) -> logits.
    cells: (w, h) of the layer at the size trained at. field: the receptive field on a square input of some pixels,
    None where the graph is not known. period: sizes that differ by this many pixels are padded alike.
    """

    body: nn.Module
    head: nn.Module
    cells: tuple[int, int]
    field: Callable[[int], Field | None]
    period: int = 1


class Network(Protocol):
    """What a Model asks of its network. classes: C of the logits (N, C)."""

    classes: int

    @property
    def whole(self) -> nn.Module:
        """images (N, 3, H, W) -> logits (N, C), frozen, through which autograd can go."""
        ...

    @property
    def takes_any_size(self) -> bool:
        """Whether inputs may have another size and shape than the one trained at."""
        ...

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be looked at, in order, with its maps (K, h, w) at the size trained at."""
        ...

    def default_layer(self) -> str:
        """The last layer that still has places. Raises ModelError where there is none."""
        ...

    def cut(self, layer: str, output_stride: int | None = None) -> Halves:
        """The two halves at a layer. Raises UnknownName, OptionError."""
        ...
