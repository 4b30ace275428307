"""A model ready to be explained: from a card or an nn.Module to a traced, frozen snapshot of it."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from camserve import cards, config
from camserve.cut import layer_names
from camserve.errors import ModelError, OptionError
from camserve.frame import Frame, check_input_size, crop, fit, native
from camserve.layers import Layer, last_feature_map
from camserve.receptive import receptive_fields
from camserve.trace import trace

if TYPE_CHECKING:
    from camserve.errors import CamserveError
    from camserve.explanation import Explanation
    from camserve.images import Source

# Each kept layer holds its own folded copy of the body's weights, so only the latest few are kept.
_LAYERS_KEPT = 4


class Model:
    """A frozen snapshot of a classifier. Made by `camserve.load`; safe to share between threads.

    name, card, labels. home: the card's file, None for a module. settings: the defaults of every option.
    Later training of a module it was made from does not reach it, and nothing it does reaches that module.
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
        self.name, self.card, self.home, self.settings = name, card, home, settings
        self._graph = trace(module).eval()
        self._weights_sha256 = weights_sha256
        self._at_trained = receptive_fields(self._graph, (card.input.size, card.input.size))
        self.labels = _check_labels(labels, self._at_trained.shapes["output"], name)
        self._layers: OrderedDict[str, Layer] = OrderedDict()
        self._lock = threading.Lock()
        self.default_layer = card.layer or last_feature_map(self._graph, self._at_trained, name)
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
                self._layers[name] = Layer(self._graph, name, self.card.input.size, self._at_trained)
            self._layers.move_to_end(name)
            while len(self._layers) > _LAYERS_KEPT:
                self._layers.popitem(last=False)
            return self._layers[name]

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be looked at, in order, with its maps (K, h, w) at the size trained at."""
        shapes = self._at_trained.shapes
        return {
            name: shapes[node.name][1:]
            for name, node in layer_names(self._graph).items()
            if len(shapes[node.name]) == 4 and shapes[node.name][-1] * shapes[node.name][-2] > 1
        }

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


def _check_labels(labels: Sequence[str] | None, logits: tuple[int, ...], name: str) -> tuple[str, ...]:
    """The class names, "class 0" and so on where none are given. Raises ModelError where the number differs."""
    if len(logits) != 2:
        raise ModelError(f"'{name}' answers with a tensor of shape {logits}; a classifier gives (N, C)")
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
