"""The interface of a Model's network: its layers, and its two halves at a layer.

`camserve.graph.traced` implements it for networks that torch.fx can trace, `camserve.graph.hooked` for all others.
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
    """The interface of a Model's network.

    given: the module as its user calls it. classes: C of the logits (N, C).
    is_extended: whether it takes sizes that `given` does not take, or gives other answers at them.
    """

    given: Given
    classes: int
    is_extended: bool

    @property
    def graph(self) -> fx.GraphModule | None:
        """The graph of `whole`; None if it is not known."""
        ...

    @property
    def whole(self) -> nn.Module:
        """images (N, c, H, W) -> logits (N, C), frozen; autograd works through it."""
        ...

    @property
    def takes_any_size(self) -> bool:
        """Whether inputs may have other sizes and shapes than the training size."""
        ...

    @property
    def multiple(self) -> int:
        """The sides of inputs must be multiples of this, pixels; used if inputs may have any size."""
        ...

    def notes_at(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """The notes for explanations of inputs of `size` (w, h) at some layers."""
        ...

    def layers(self) -> dict[str, tuple[int, ...]]:
        """{name: shape (K, h, w) of its maps at the training size} of every layer that can be explained, in order."""
        ...

    def default_layer(self) -> str:
        """The last layer that still has places. Raises ModelError if there is none."""
        ...

    def watch(self, images: Tensor, see: See) -> Tensor:
        """The logits of one forward pass with autograd; `see` gets every value that has a name, in order."""
        ...

    def cut(self, layer: str, output_stride: int | None = None) -> Cut:
        """The two halves at a layer. Raises UnknownName, OptionError."""
        ...


def network_of(given: Given, *, by_hook: bool = False) -> Network:
    """The network that was given: traced if torch.fx can and the graph gives the same answers, else hooked.

    by_hook: always hooked.
    """
    if by_hook:
        return HookedNetwork(given)
    try:
        return TracedNetwork(given)
    except Untraceable as reason:
        log.debug("%s", reason)
        return HookedNetwork(given)
