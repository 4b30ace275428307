"""What a Model asks of its network: which layers there are, and the two halves at one of them.

`camserve.graph.traced` gives it for networks that torch.fx traces, `camserve.graph.hooked` for all others.
"""

import logging
from collections.abc import Collection
from typing import Protocol

from torch import Tensor, fx, nn

from camserve.graph.cut import Cut
from camserve.graph.hooked import HookedNetwork
from camserve.graph.layer_search.places import See
from camserve.graph.original.given import Given
from camserve.graph.trace import Untraceable
from camserve.graph.traced import TracedNetwork

log = logging.getLogger("camserve")


class Network(Protocol):
    """What a Model asks of its network.

    given: the module as its user calls it. classes: C of the logits (N, C).
    is_extended: whether it takes sizes that `given` does not take, or answers otherwise there.
    """

    given: Given
    classes: int
    is_extended: bool

    @property
    def graph(self) -> fx.GraphModule | None:
        """The graph of `whole`; None where it is not known."""
        ...

    @property
    def whole(self) -> nn.Module:
        """images (N, c, H, W) -> logits (N, C), frozen, through which autograd can go."""
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

    def cut(self, layer: str, output_stride: int | None = None) -> Cut:
        """The two halves at a layer. Raises UnknownName, OptionError."""
        ...


def network_of(given: Given, *, by_hook: bool = False) -> Network:
    """The network that was given, traced where torch.fx can and the graph answers as the network does, else hooked.

    by_hook: hooked in any case.
    """
    if by_hook:
        return HookedNetwork(given)
    try:
        return TracedNetwork(given)
    except Untraceable as reason:
        log.debug("%s", reason)
        return HookedNetwork(given)
