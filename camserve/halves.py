"""What a Model asks of its network: which layers there are, and the two halves at one of them.

`camserve.network` gives it for networks that torch.fx traces, `camserve.hooked` for all others.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from camserve.given import Given
from camserve.receptive import Field

# Sees a value of a pass, and its name; may return another in its place
See = Callable[[str, Tensor], Tensor | None]


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
    """What a Model asks of its network.

    given: the module as its user calls it. classes: C of the logits (N, C). is_traced: whether its graph is known.
    is_extended: whether it takes sizes that `given` does not take, or answers otherwise there.
    """

    given: Given
    classes: int
    is_traced: bool
    is_extended: bool

    @property
    def whole(self) -> nn.Module:
        """images (N, 3, H, W) -> logits (N, C), frozen, through which autograd can go."""
        ...

    @property
    def takes_any_size(self) -> bool:
        """Whether inputs may have another size and shape than the one trained at."""
        ...

    @property
    def multiple(self) -> int:
        """What the sides of inputs are multiples of, pixels; of use where inputs may have any size."""
        ...

    def notes_at(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """What explanations of inputs of `size` (w, h) at some layers have to say."""
        ...

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be looked at, in order, with its maps (K, h, w) at the size trained at."""
        ...

    def default_layer(self) -> str:
        """The last layer that still has places. Raises ModelError where there is none."""
        ...

    def watch(self, images: Tensor, see: See) -> Tensor:
        """The logits of one pass with autograd, in which `see` meets every value with a name, in order."""
        ...

    def cut(self, layer: str, output_stride: int | None = None) -> Halves:
        """The two halves at a layer. Raises UnknownName, OptionError."""
        ...
