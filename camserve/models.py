"""A model ready to be explained: from a card or an nn.Module to a traced, frozen snapshot of it."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from camserve import cards, config, workers
from camserve.devices import find_device
from camserve.errors import CutError, ModelError, OptionError, shown
from camserve.frame import Frame, check_input_size, crop, fit, native, squeezed
from camserve.given import Given
from camserve.hooked import HookedNetwork
from camserve.layers import Layer
from camserve.network import network_of
from camserve.options import ExplainOptions, Targeted, takes
from camserve.snapshot import add_weights

if TYPE_CHECKING:
    from camserve.errors import CamserveError
    from camserve.explanation import Explanation
    from camserve.images import Source
    from camserve.inspection import Inspection
    from camserve.methods.evidence import Progress
    from camserve.targets import TargetOption

log = logging.getLogger("camserve")

# Each kept layer holds its own folded copy of the body's weights, so only the latest few are kept.
_LAYERS_KEPT = 8


@dataclass(frozen=True, kw_only=True)
class _Call(ExplainOptions, Targeted):
    progress: "Progress | None" = None


class Model:
    """A frozen snapshot of a classifier. Made by `camserve.load`; safe to share between threads.

    name, card, labels. module: the network, frozen and in evaluation mode. home: the card's file, None for a module.
    settings: the defaults of every option.
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
        self._weights_sha256 = weights_sha256
        self._layers: OrderedDict[tuple[str, int | None], Layer] = OrderedDict()
        self._lock = threading.Lock()
        self._building: dict[tuple[str, int | None], threading.Lock] = {}
        module = module.to(find_device(settings.compute.device))
        workers.shared(settings.compute).run(lambda: self._look(module, None if labels is None else len(labels)))
        self.labels = _check_labels(labels, self.network.classes, name)

    def _look(self, module: nn.Module, labels: int | None) -> None:
        """Everything that runs the network; on a worker, whose threads are few and fixed."""
        given = Given(module, self.card.input.size, labels)
        if given.scores is not None:
            self.card = self.card.model_copy(update={"scores": given.scores})
        self.module, self.network = given.module, network_of(given)
        self.default_layer = self.card.layer or self.network.default_layer()
        try:
            self.layer()
        except CutError as error:
            if not self.network.is_traced:
                raise
            log.warning("%s: the network itself is run, with a hook", error)
            self.network = HookedNetwork(given)
            self.default_layer = self.card.layer or self.network.default_layer()
            self.layer()

    def notes(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """What explanations of inputs of `size` (w, h) at these layers have to say about the network."""
        chosen = () if self.card.layer else layers  # a layer that was named is looked at as it is
        return (*self.network.given.notes, *self.network.notes_at(size, chosen))

    @takes(_Call)
    def explain(self, image: "Source", options: _Call) -> "Explanation":
        """Why the model says what it says about one image; see `camserve.explain.explain`."""
        from camserve.explain import explain
        from camserve.run import Run

        return explain(self, image, options.target, options, Run(progress=options.progress))

    def explain_classes(
        self, image: "Source", targets: "int | Sequence[TargetOption]", **options: Any
    ) -> "list[Explanation]":
        """One explanation a target, or for the best so many classes, from one forward; see `camserve.explain`."""
        from camserve.explain import explain_classes

        return explain_classes(self, image, targets, ExplainOptions(**options))

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

    def layer(self, name: str | None = None, output_stride: int | None = None) -> Layer:
        """The layer of that name, default the model's own. Raises UnknownName with close matches, OptionError."""
        key = (name or self.default_layer, output_stride)
        with self._lock:
            if (layer := self._ready(key)) is not None:
                return layer
            building = self._building.setdefault(key, threading.Lock())
        with building:  # who asks for another layer meanwhile does not wait
            with self._lock:
                if (layer := self._ready(key)) is not None:
                    return layer
            try:
                made = self._made(key)
                with self._lock:
                    self._layers[key] = made
                    while len(self._layers) > _LAYERS_KEPT:
                        self._layers.popitem(last=False)
            finally:  # names of no layer must not gather
                with self._lock:
                    self._building.pop(key, None)
            return made

    def _ready(self, key: tuple[str, int | None]) -> Layer | None:
        """A layer that is kept, as the one used last."""
        if key in self._layers:
            self._layers.move_to_end(key)
        return self._layers.get(key)

    def _made(self, key: tuple[str, int | None]) -> Layer:
        measured = self.card.placement
        offset = measured.offset if measured and measured.layer == key[0] else None
        return Layer(self.network, key[0], self.card.input.size, key[1], offset, self._compute(*key))

    def _compute(self, layer: str, output_stride: int | None) -> config.Compute | None:
        """What decides a layer's engine; None: torch, where "auto" would spend a second for few images."""
        lasting = self.home is not None and layer == self.default_layer and output_stride is None
        return self.settings.compute if lasting or self.settings.compute.engine != "auto" else None

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be looked at, in order, with its maps (K, h, w) at the size trained at."""
        return self.network.layers()

    def inspect(self) -> "Inspection":
        """What every layer gives and costs, the head, and the sizes of input taken; see `camserve.inspection`."""
        from camserve.inspection import inspect_model

        return inspect_model(self)

    def frame(self, original: tuple[int, int], size: str | int | None = None) -> Frame:
        """How a photograph of `original` (W, H) becomes the input: fit, crop, native or a short side."""
        size = self.settings.explain.size if size is None else size
        own, limits = self.card.input, self.settings.explain
        if size == "crop":
            return crop(original, own.size, share=own.crop)
        if not self.network.takes_any_size:
            return _at_own_size(original, own.size, size)
        if size == "native":
            return check_input_size(native(original), limits.max_input_megapixels)
        short_side = own.fit_side if size == "fit" else _short_side(size)
        made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=self.network.multiple)
        return check_input_size(made, limits.max_input_megapixels)

    def own_frame(self, original: tuple[int, int]) -> Frame:
        """The whole photograph as the one size that every network takes, the square it was trained at."""
        return squeezed(original, self.card.input.size)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, or, for a module, of its parameters and buffers by name."""
        if self._weights_sha256 is not None:
            return self._weights_sha256
        digest = hashlib.sha256()
        add_weights(digest, self.module)
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<camserve.Model {self.name}: {len(self.labels)} classes, layer {self.default_layer}>"


# Of a short side: more are no size of anything, and from 309 on no float.
_DIGITS = 6


def _check_labels(labels: Sequence[str] | None, classes: int, name: str) -> tuple[str, ...]:
    """The class names, "class 0" and so on where none are given. Raises ModelError where the number differs."""
    if labels is None:
        return tuple(f"class {index}" for index in range(classes))
    if len(labels) != classes:
        raise ModelError(f"'{name}' has {classes} classes, but {len(labels)} labels were given")
    return tuple(labels)


def _at_own_size(original: tuple[int, int], side: int, size: str | int) -> Frame:
    """The whole photograph as the only input a fixed network takes. Raises OptionError for another size."""
    if size in ("fit", side, str(side)) or (size == "native" and original == (side, side)):
        return squeezed(original, side)
    raise OptionError(
        f"size {shown(size)}: this network takes {side} x {side} pixels only; use fit (the whole image, squeezed to a "
        "square) or crop"
    )


def _short_side(size: str | int) -> int:
    """`size` as a number of pixels; strings of digits count, since flags and queries are strings."""
    number = int(size) if isinstance(size, str) and size.isdecimal() and len(size) <= _DIGITS else size
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 10**_DIGITS:
        raise OptionError(f"size {shown(size)} is none of: fit, crop, native, or a short side in pixels such as 320")
    return number
