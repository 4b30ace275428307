"""What a model is: a card and a network, frozen, with its layers; it knows nothing of explanations."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from camserve.catalogue.class_names import ClassNames
from camserve.config import schema as config
from camserve.errors import CutError, ModelError, OptionError, shown
from camserve.geometry.frame import Frame, check_input_size, crop, fit, native, squeezed
from camserve.graph.devices import find_device
from camserve.graph.network import network_of
from camserve.graph.original.given import Given
from camserve.models import card as cards
from camserve.models.checkpoints import Checkpoint
from camserve.models.labels import with_wnids
from camserve.models.layer import Layer
from camserve.models.snapshot import add_weights
from camserve.system.workers import Workers, shared

log = logging.getLogger("camserve")

# Each kept layer holds its own folded copy of the body's weights, so only the latest few are kept.
_LAYERS_KEPT = 8


class Parts(NamedTuple):
    """What a classifier is made of.

    module: the network, frozen. labels: None where nobody names the classes. weights_sha256: of the file they came
    from, None for a module. home: the card's file, None without one. checkpoint: the weights under the network's
    names, None where it was made without; prefix: what was taken off those names.
    """

    module: nn.Module
    card: cards.Card
    name: str
    labels: Sequence[str] | None
    settings: config.Settings
    weights_sha256: str | None = None
    home: Path | None = None
    checkpoint: Checkpoint | None = None
    prefix: str = ""


class Classifier:
    """A frozen snapshot of a classifier; safe to share between threads.

    name, card, labels. module: the network, frozen and in evaluation mode. home: the card's file, None for a module.
    settings: the defaults of every option.
    Later training of a module it was made from does not reach it, and nothing it does reaches that module.
    """

    def __init__(self, parts: Parts) -> None:
        self.name, self.card, self.home, self.settings = parts.name, parts.card, parts.home, parts.settings
        self._weights_sha256 = parts.weights_sha256
        self._layers: OrderedDict[tuple[str, int | None], Layer] = OrderedDict()
        self._lock = threading.Lock()
        self._building: dict[tuple[str, int | None], threading.Lock] = {}
        module = parts.module.to(find_device(self.settings.compute.device))
        named = None if parts.labels is None else len(parts.labels)
        self.workers.run(lambda: self._look(module, named))
        self.labels = _check_labels(parts.labels, self.network.classes, self.name, self.card)

    @property
    def workers(self) -> Workers:
        """The process's pool for these settings."""
        compute = self.settings.compute
        return shared(compute.workers, compute.threads)

    def _look(self, module: nn.Module, labels: int | None) -> None:
        """Everything that runs the network; on a worker, whose threads are few and fixed."""
        given = Given(module, self.card.input.size, labels, as_numbers=self.card.scores == "none")
        if given.scores is not None and self.card.scores != "none":
            self.card = self.card.model_copy(update={"scores": given.scores})
        self.module, self.network = given.module, network_of(given)
        self.default_layer = self.card.layer or self.network.default_layer()
        try:
            self.layer()
        except CutError as error:
            if self.network.graph is None:
                raise
            log.warning("%s: the network itself is run, with a hook", error)
            self.network = network_of(given, by_hook=True)
            self.default_layer = self.card.layer or self.network.default_layer()
            self.layer()

    def notes(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """What explanations of inputs of `size` (w, h) at these layers have to say about the network."""
        chosen = () if self.card.layer else layers  # a layer that was named is looked at as it is
        return (*self.network.given.notes, *self.network.notes_at(size, chosen))

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

    @cached_property
    def described(self) -> dict[str, Any]:
        """Name, hash of the weights and card, as plain values: what results say of the model."""
        card = self.card.model_dump(mode="json", exclude={"known"})
        return {"name": self.name, "weights_sha256": self.weights_sha256, "card": card}

    def __repr__(self) -> str:
        return f"<camserve.Model {self.name}: {len(self.labels)} classes, layer {self.default_layer}>"


# Of a short side: more are no size of anything, and from 309 on no float.
_DIGITS = 6


def _check_labels(labels: Sequence[str] | None, classes: int, name: str, card: cards.Card) -> ClassNames:
    """The class names, "class 0" and so on where none are given. Raises ModelError where the number differs."""
    if labels is None:
        word = "output" if card.scores == "none" else "class"
        return ClassNames(f"{word} {index}" for index in range(classes))
    if len(labels) != classes:
        raise ModelError(f"'{name}' has {classes} classes, but {len(labels)} labels were given")
    return with_wnids(labels)


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
