"""A model ready to be explained: from a card or an nn.Module to a traced, frozen snapshot of it."""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn

from camserve import cards, config
from camserve.cut import Cut, cut, shortest_name
from camserve.engines import TorchEngine
from camserve.errors import ModelError, OptionError
from camserve.frame import Frame, Placement, check_input_size, crop, fit, native
from camserve.heads import Head, head_of
from camserve.receptive import Field, receptive_fields
from camserve.trace import node_shapes, trace

if TYPE_CHECKING:
    from camserve.errors import CamserveError
    from camserve.explanation import Explanation
    from camserve.images import Source

# Each kept layer holds its own folded copy of the body's weights, so only the latest few are kept.
_LAYERS_KEPT = 4


@dataclass(frozen=True)
class Layer:
    """One layer of a model, cut, recognised and ready to run."""

    name: str
    cut: Cut
    head: Head
    engine: TorchEngine


class Model:
    """A frozen snapshot of a classifier. Made by `camserve.load`; safe to share between threads.

    name, card, labels; home: the card's file, None for a module; settings: the defaults of every option. Later training of a module it was made from
    does not reach it, and nothing it does reaches that module.
    """

    def __init__(
        self,
        module: nn.Module,
        card: cards.Card,
        *,
        name: str,
        labels: Sequence[str] | None,
        settings: config.Settings,
        weights_sha256: str | None = None,
        home: Path | None = None,
    ) -> None:
        self.home = home
        self.name, self.card, self.settings = name, card, settings
        self._graph = trace(module).eval()
        self._weights_sha256 = weights_sha256
        self._layers: OrderedDict[str, Layer] = OrderedDict()
        self._fields: dict[tuple[str, int], Field] = {}
        self._padding_depends_on_size = any(hasattr(part, "same_padding") for part in self._graph.modules())
        self._lock = threading.Lock()
        self._shapes = node_shapes(self._graph, card.input.size, card.input.size)
        self.labels = _check_labels(labels, _output_shape(self._graph, self._shapes), name)
        self.default_layer = card.layer or shortest_name(
            self._graph, _last_feature_map(self._graph, self._shapes, name)
        )
        self.layer()

    def explain(
        self,
        image: "Source",
        *,
        method: str | None = None,
        target: int | str | None = None,
        layer: str | None = None,
        size: str | int | None = None,
    ) -> "Explanation":
        """Why the model says what it says about one image; see `camserve.explain.explain`."""
        from camserve.explain import explain

        return explain(self, image, method=method, target=target, layer=layer, size=size)

    def explain_many(
        self, images: Iterable["Source"], *, errors: str = "raise", **options: Any
    ) -> "Iterator[Explanation | CamserveError]":
        """Explanations in the order of `images`, in bounded memory; see `camserve.explain.explain_many`."""
        from camserve.explain import explain_many

        return explain_many(self, images, errors=errors, **options)

    def class_maps(self, image: "Source", *, size: str | int | None = None) -> "np.ndarray[Any, Any]":
        """The CAM of every class from one forward, float32 (C, h, w); see `camserve.explain.class_maps`."""
        from camserve.explain import class_maps

        return class_maps(self, image, size=size)

    def layer(self, name: str | None = None) -> Layer:
        """The layer of that name, default the model's own. Raises UnknownName with close matches."""
        name = name or self.default_layer
        with self._lock:
            if name not in self._layers:
                halves = cut(self._graph, name)
                if len(self._shapes[halves.node]) != 4:
                    raise OptionError(
                        f"layer '{name}' gives a tensor of shape {tuple(self._shapes[halves.node])}, not feature "
                        "maps (N, K, h, w); choose an earlier layer"
                    )
                self._layers[name] = Layer(name, halves, head_of(halves), TorchEngine(halves.body))
            self._layers.move_to_end(name)
            while len(self._layers) > _LAYERS_KEPT:
                self._layers.popitem(last=False)
            return self._layers[name]

    def frame(self, original: tuple[int, int], size: str | int | None = None) -> Frame:
        """How a photograph of `original` (W, H) becomes the input: fit, crop, native or a short side."""
        size = self.settings.explain.size if size is None else size
        own, limits = self.card.input, self.settings.explain
        if size == "crop":
            return crop(original, own.size, share=own.crop)
        if size == "native":
            return check_input_size(native(original), limits.max_input_megapixels)
        short_side = own.fit_side if size == "fit" else _short_side(size)
        made = fit(original, short_side, max_aspect=limits.max_aspect)
        return check_input_size(made, limits.max_input_megapixels)

    def placement(self, layer: Layer, made: Frame, grid: tuple[int, int]) -> Placement:
        """Where the cells of `layer` sit: the true stride and the centred offset.

        offset = ((S - 1) - (n - 1) J) / 2 at the size S the model was trained at, where its n cells are centred,
        plus what the padding moves the receptive fields by between that size and this one.
        """
        trained, cells = self.card.input.size, self._shapes[layer.cut.node][:1:-1]
        stride = self._field(layer, trained).stride

        def offset(axis: int) -> float:
            centred = ((trained - 1) - (cells[axis] - 1) * stride[axis]) / 2
            moved = self._field(layer, made.input[axis]).start[axis] - self._field(layer, trained).start[axis]
            return centred + moved

        return Placement(made, grid, stride, (offset(0), offset(1)))

    def _field(self, layer: Layer, side: int) -> Field:
        """The layer's receptive field on an input of `side` x `side` pixels, at least where its cells start.

        SAME padding, the only kind that depends on the size, does so through the size modulo the stride; so
        one field per remainder is computed, and kept, whatever sizes come in.
        """
        trained = self.card.input.size
        if (layer.name, 0) not in self._fields:
            self._fields[layer.name, 0] = self._compute_field(layer, trained)
        stride = math.lcm(*(int(step) for step in self._fields[layer.name, 0].stride))
        remainder = (side - trained) % stride if self._padding_depends_on_size else 0
        if (layer.name, remainder) not in self._fields:
            self._fields[layer.name, remainder] = self._compute_field(layer, trained + remainder)
        return self._fields[layer.name, remainder]

    def _compute_field(self, layer: Layer, side: int) -> Field:
        return receptive_fields(self._graph, (side, side))[layer.cut.node.name]

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, or, for a module, of its parameters and buffers by name."""
        if self._weights_sha256 is not None:
            return self._weights_sha256
        digest = hashlib.sha256()
        for name, tensor in sorted(self._graph.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<camserve.Model {self.name}: {len(self.labels)} classes, layer {self.default_layer}>"


def _last_feature_map(graph: fx.GraphModule, shapes: dict[fx.Node, torch.Size], name: str) -> fx.Node:
    """The last node that still has places, (N, K, h, w) with more than one cell, before a pooling to a fixed grid.

    AlexNet and VGG pool to 6 x 6 or 7 x 7 before their fully connected layers; the maps before that keep the
    stride of the network at any size.
    """
    for node, shape in reversed(shapes.items()):
        pools = node.op == "call_module" and isinstance(
            graph.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d
        )
        if len(shape) == 4 and shape[-1] * shape[-2] > 1 and not pools:
            return node
    raise ModelError(f"'{name}' has no feature maps (N, K, h, w) with more than one cell; name a layer yourself")


def _check_labels(labels: Sequence[str] | None, logits: torch.Size, name: str) -> tuple[str, ...]:
    """The class names, "class 0" and so on where none are given. Raises ModelError where the number differs."""
    if len(logits) != 2:
        raise ModelError(f"'{name}' answers with a tensor of shape {tuple(logits)}; a classifier gives (N, C)")
    if labels is None:
        return tuple(f"class {index}" for index in range(logits[1]))
    if len(labels) != logits[1]:
        raise ModelError(f"'{name}' has {logits[1]} classes, but {len(labels)} labels were given")
    return tuple(labels)


def _short_side(size: str | int) -> int:
    """`size` as a number of pixels; strings of digits count, since flags and queries are strings."""
    if isinstance(size, str) and size.isdecimal():
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise OptionError(f"size {size!r} is none of: fit, crop, native, or a short side in pixels such as 320")
    return size


def _output_shape(graph: fx.GraphModule, shapes: dict[fx.Node, torch.Size]) -> torch.Size:
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    return shapes.get(output, torch.Size())
