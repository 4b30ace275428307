"""The two halves of a network that torch.fx cannot trace: one short-lived hook, which only its own thread obeys.

The body runs the network and keeps what the layer gave. The head runs it again on the same images and puts changed
activations in the layer's place; what comes before is computed once more, which is the price of not knowing the
graph. A layer used several times is known by its last use. No state outlives a call.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from camserve.answers import logits_in
from camserve.devices import noise, odd_size
from camserve.errors import ModelError, OptionError, UnknownName
from camserve.halves import Halves

Replace = Callable[[Tensor], Tensor | None]


class HookedNetwork:
    """A network whose graph is not known. size: side of the square input it was trained at, pixels."""

    def __init__(self, module: nn.Module, size: int) -> None:
        self.size, self._module = size, module
        self._maps, logits = _maps_of(module, noise(module, size, size))
        if logits.ndim != 2:
            raise ModelError(f"the network answers with shape {tuple(logits.shape)}; a classifier gives (N, C)")
        self.classes = logits.shape[1]

    @property
    def whole(self) -> nn.Module:
        """images (N, 3, H, W) -> logits (N, C), frozen, through which autograd can go."""
        return _Logits(self._module)

    @property
    def takes_any_size(self) -> bool:
        """Tried, on an input that is neither square nor a multiple of the usual strides."""
        try:
            with torch.no_grad():
                self._module(noise(self._module, *odd_size(self.size)))
        except Exception:  # whatever a network raises at a size it does not take
            return False
        return True

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every module that gives maps with more than one cell, in the order in which they finish."""
        return dict(self._maps)

    def default_layer(self) -> str:
        """The last such module that is no pooling to a fixed grid."""
        fixed = nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d
        names = [name for name in self._maps if not isinstance(self._module.get_submodule(name), fixed)]
        if not names:
            raise ModelError("the network has no feature maps (N, K, h, w) with more than one cell")
        return names[-1]

    def cut(self, layer: str, output_stride: int | None = None) -> Halves:
        """The two halves at a module."""
        if layer not in self._maps:
            raise UnknownName("layer", layer, self._maps)
        if output_stride is not None:
            raise OptionError("output_stride needs the network's graph, which torch.fx cannot trace; leave it out")
        shape = self._maps[layer]
        halves = HookedBody(self._module, layer), HookedHead(self._module, layer)
        return Halves(*halves, (shape[-1], shape[-2]), lambda side: None)


class _Logits(nn.Module):
    """A network, and of its answer the logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C)."""
        return logits_in(self.network(images))


class HookedBody(nn.Module):
    """images -> (activations, (images, how often the layer is used))."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, int]]:
        """(N, 3, H, W) -> activations (N, K, h, w) and what the head needs."""
        kept: list[Tensor] = []

        def keep(output: Tensor) -> None:
            kept[:] = [output.clone()]  # an in-place ReLU right after the layer would write into it
            uses.append(None)

        uses: list[None] = []
        with hooked(self.network.get_submodule(self.layer), keep):
            self.network(images)
        return kept[0], (images, len(uses))


class HookedHead(nn.Module):
    """(activations, images, uses) -> logits: the network, with the layer's last output replaced."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, activations: Tensor, images: Tensor, uses: int) -> Tensor:
        """(N, K, h, w) -> (N, C)."""
        seen: list[None] = []

        def replace(output: Tensor) -> Tensor | None:
            seen.append(None)
            return activations.clone() if len(seen) == uses else None

        with hooked(self.network.get_submodule(self.layer), replace):
            return logits_in(self.network(images))


@contextmanager
def hooked(layer: nn.Module, replace: Replace) -> Iterator[None]:
    """While inside, `replace(output)` sees the layer's outputs in this thread, and may return others."""
    thread = threading.get_ident()

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return replace(output) if threading.get_ident() == thread else None

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _maps_of(module: nn.Module, image: Tensor) -> tuple[dict[str, tuple[int, ...]], Tensor]:
    """{module's name: (K, h, w)} of all that give maps, in the order in which they finish, and the logits."""
    found: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            found.pop(name, None)
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] * output.shape[-2] > 1:
                found[name] = tuple(output.shape[1:])

        return hook

    handles = [part.register_forward_hook(watch(name)) for name, part in module.named_modules() if name]
    try:
        with torch.no_grad():
            logits = logits_in(module(image))
    except ModelError:
        raise
    except Exception as error:  # anything a user's forward raises
        raise ModelError(f"the network fails on an input of {tuple(image.shape)}: {error}") from None
    finally:
        for handle in handles:
            handle.remove()
    return found, logits
