"""The two halves of a network that torch.fx cannot trace. They use a short-lived hook that acts only in its own thread.

The body runs the network and keeps the layer's output. The head runs the network again on the same images and replaces
the layer's output by changed activations. Without the graph, the part before the layer must be computed again. The name
of a layer that is used several times means its last use. No state remains after a call.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from camserve.errors import OptionError, UnknownName
from camserve.graph.cut import Cut
from camserve.graph.layer_search.places import See, places
from camserve.graph.layer_search.search import Choice, find_layer
from camserve.graph.layout import Layout
from camserve.graph.original.given import Given
from camserve.graph.original.state import fresh

Replace = Callable[[Tensor], Tensor | None]


class HookedNetwork:
    """A network whose graph is not known."""

    graph = None
    is_extended = False

    def __init__(self, given: Given) -> None:
        self.given, self.size, self.classes = given, given.size, given.classes
        self._maps = places(self)

    @property
    def whole(self) -> nn.Module:
        """images (N, c, H, W) -> logits (N, C), frozen, through which autograd can go."""
        return self.given

    @property
    def takes_any_size(self) -> bool:
        """Whether the network took other sizes when it was loaded."""
        return self.given.takes_any_size

    @property
    def multiple(self) -> int:
        """The sides of inputs must be multiples of this, pixels."""
        return self.given.multiple

    def notes_at(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """As in Network."""
        return self._choice.notes_at(layers) if layers else ()

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every module whose output is maps or tokens with more than one cell, in the order in which they finish."""
        return {name: found.shape for name, found in self._maps.items()}

    @cached_property
    def _choice(self) -> Choice:
        return find_layer(self, self._maps)

    def default_layer(self) -> str:
        """The last module after which only pooling comes before the answer; see `layer_search`."""
        return self._choice.found.name

    def has_known_places(self, name: str) -> bool:
        """False: without the graph, receptive fields are not known."""
        return False

    def is_linear(self, name: str) -> bool:
        """Whether that module is a linear layer."""
        return isinstance(self.given.module.get_submodule(name), nn.Linear)

    def watch(self, images: Tensor, see: See) -> Tensor:
        """As in Network: shows the outputs of all modules of a copy that no other call uses."""
        with ExitStack() as hooks, torch.enable_grad():
            network = fresh(self.given.module)
            for name, part in network.named_modules():
                if name and not isinstance(part, _FIXED_GRID):
                    hooks.enter_context(hooked(part, lambda output, name=name: see(name, output)))  # type: ignore[misc]
            return self.given.ask(network, images)

    def cut(self, layer: str, output_stride: int | None = None) -> Cut:
        """The two halves at a module."""
        if layer not in self._maps:
            raise UnknownName("layer", layer, self._maps)
        if output_stride is not None:
            raise OptionError("output_stride needs the network's graph, but torch.fx cannot trace it; leave it out")
        layout = self._maps[layer].layout
        body, head = HookedBody(self.given, layer, layout), HookedHead(self.given, layer, layout)
        with torch.no_grad():
            maps, _ = body(self.given.image())
        return Cut(body, head, (maps.shape[-1], maps.shape[-2]), lambda more: None)


_FIXED_GRID = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class HookedBody(nn.Module):
    """images -> (activations, (images, how often the layer is used, tokens without a place))."""

    def __init__(self, given: Given, layer: str, layout: Layout) -> None:
        super().__init__()
        self.given, self.layer, self.layout = given, layer, layout

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, int, Tensor | None]]:
        """(N, c, H, W) -> activations (N, K, h, w) and what the head needs."""
        kept: list[Tensor] = []
        uses: list[None] = []

        def keep(output: Tensor) -> None:
            kept[:] = [output.clone()]  # an in-place ReLU after the layer would write into it
            uses.append(None)

        with self.given.network() as network, hooked(network.get_submodule(self.layer), keep):
            self.given.ask(network, images)
        if not kept:
            raise OptionError(
                f"layer '{self.layer}' is not used for an input of {images.shape[-1]} x {images.shape[-2]} pixels; "
                "choose another layer or size"
            )
        maps = self.layout.as_map(kept[0], (images.shape[-1], images.shape[-2]))
        return maps, (images, len(uses), self.layout.rest(kept[0]))


class HookedHead(nn.Module):
    """(activations, images, uses, tokens without a place) -> logits, with the layer's output replaced."""

    def __init__(self, given: Given, layer: str, layout: Layout) -> None:
        super().__init__()
        self.given, self.layer, self.layout = given, layer, layout

    def forward(self, activations: Tensor, images: Tensor, uses: int, rest: Tensor | None = None) -> Tensor:
        """(N, K, h, w) -> (N, C)."""
        seen: list[None] = []

        def replace(output: Tensor) -> Tensor | None:
            seen.append(None)
            return self.layout.back(activations.clone(), rest) if len(seen) == uses else None

        with self.given.network() as network, hooked(network.get_submodule(self.layer), replace):
            return self.given.ask(network, images)


@contextmanager
def hooked(layer: nn.Module, replace: Replace) -> Iterator[None]:
    """While active, `replace(output)` sees the layer's outputs in this thread, and may return others."""
    thread = threading.get_ident()

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        # attention and recurrent layers give several tensors, the main output first
        several = type(output) is tuple and bool(output)
        value = output[0] if several else output
        if threading.get_ident() != thread or not isinstance(value, Tensor):
            return None
        other = replace(value)
        return other if other is None or not several else (other, *output[1:])

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
