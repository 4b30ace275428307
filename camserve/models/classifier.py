"""What a model is: a card and a network, frozen, with its layers; it knows nothing of explanations."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from torch import nn

from camserve.catalogue.class_names import ClassNames
from camserve.config import schema as config
from camserve.errors import CutError, ModelError, OptionError, shown
from camserve.geometry.frame import Frame, check_input_size, crop, fit, native, squeezed
from camserve.graph.devices import find_device
from camserve.graph.network import network_of
from camserve.models import card as cards
from camserve.models.channels import met
from camserve.models.checkpoints import Checkpoint
from camserve.models.labels import with_aliases, with_wnids
from camserve.models.layer import Layer
from camserve.models.output_names import Labels, Output, count_of, labels_of, output_of
from camserve.models.snapshot import add_weights
from camserve.system.workers import Pool, Workers, shared

log = logging.getLogger("camserve")

# Each kept layer holds its own folded copy of the body's weights, so only the latest few are kept.
_LAYERS_KEPT = 8


class Parts(NamedTuple):
    """What a classifier is made of.

    module: the network, frozen. labels: None where nobody names the classes; by output for a network with several.
    weights_sha256: of the file they came from, None for a module. home: the card's file, None without one. checkpoint:
    the weights under the network's names, None where it was made without; prefix: what was taken off those names.
    output: in place of the card's. found_labels: what the file of weights holds besides; they count where nobody else
    names the classes, and where they are as many.
    """

    module: nn.Module
    card: cards.Card
    name: str
    labels: Labels | None
    settings: config.Settings
    weights_sha256: str | None = None
    home: Path | None = None
    checkpoint: Checkpoint | None = None
    prefix: str = ""
    output: Output | None = None
    found_labels: Sequence[str] | None = None


class Classifier:
    """A frozen snapshot of a classifier; safe to share between threads.

    name, card, labels. module: the network, frozen and in evaluation mode. home: the card's file, None for a module.
    settings: the defaults of every option. outputs: the names of the parts (N, C) of the network's answer, () where
    that is one tensor; output: which of them it is about, None where there are no others.
    Later training of a module it was made from does not reach it, and nothing it does reaches that module.
    """

    def __init__(self, parts: Parts) -> None:
        self.name, self.card, self.home, self.settings = parts.name, parts.card, parts.home, parts.settings
        self._weights_sha256 = parts.weights_sha256
        self._layers: OrderedDict[tuple[str, int | None], Layer] = OrderedDict()
        self._lock = threading.Lock()
        self._building: dict[tuple[str, int | None], threading.Lock] = {}
        self._others, self._other = dict[str, Self](), threading.Lock()
        module = parts.module.to(find_device(self.settings.compute.device))
        self.workers.run(lambda: self._look(module, parts))
        self._parts = parts._replace(module=self.module, checkpoint=None)
        answered, part = self.network.given.answered, self.network.given.part
        self.outputs, self.output = answered.outputs, part.name if len(answered.outputs) > 1 else None
        labels = labels_of(part, answered, parts.labels, parts.output, parts.card.output)
        if labels is None and self.output is None and len(parts.found_labels or ()) == self.network.classes:
            labels = parts.found_labels
        named = _check_labels(labels, self.network.classes, self.name, self.card)
        self.labels = with_aliases(named, self.card.aliases, all_known=self.output is None)

    @property
    def workers(self) -> Workers:
        """The process's pool for these settings."""
        compute = self.settings.compute
        return shared(compute.workers, compute.threads)

    def _look(self, module: nn.Module, parts: Parts) -> None:
        """Everything that runs the network; on a worker, whose threads are few and fixed."""
        chosen = output_of(parts.output, self.card.output, parts.labels)
        try:
            given, self.card = met(module, self.card, _count(parts, chosen), chosen)
        except OptionError as error:
            if self.home is None or parts.output is not None:
                raise
            raise ModelError(f"the card '{self.home}' is wrong: {error}") from None
        if chosen is not None:
            self.card = self.card.model_copy(update={"output": given.part.name})
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

    def of_output(self, output: str | int | None, pool: Pool | None = None, deadline: float | None = None) -> Self:
        """The classifier of another output of the same network, made at its first use and kept; None: this one.

        output: a name, the end of one, or an index. pool, deadline: where it is made, and in how many seconds. Raises
        UnknownName, which lists the outputs, OptionError for a network with one, ModelError, DeadlinePassed.
        """
        if output is None:
            return self
        given = self.network.given
        name = given.answered.named(output).name
        if name == given.part.name:
            return self
        return self._others.get(name) or (pool or self.workers).run(lambda: self._of_output(name), deadline)

    def _of_output(self, name: str) -> Self:
        """To be called on a worker, who waits for no worker: it builds in place."""
        with self._other:
            if name not in self._others:
                labels = self._parts.labels if isinstance(self._parts.labels, Mapping) else None
                parts = self._parts._replace(labels=labels, output=name)
                self._others[name] = type(self)(parts)
            return self._others[name]

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
        return Layer(self.network, key[0], key[1], offset, self._compute(*key))

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
            return crop(original, own.sides, share=own.crop)
        if not self.network.takes_any_size:
            return _at_own_size(original, own.sides, size)
        if size == "native":
            return check_input_size(native(original), limits.max_input_megapixels)
        short_side = own.fit_side if size == "fit" else _short_side(size)
        made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=self.network.multiple)
        while size == "fit" and self.network.is_extended and _is_smaller(made.input, own.sides):
            short_side += 1  # its windows are not square, and slide over the input
            made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=self.network.multiple)
        return check_input_size(made, limits.max_input_megapixels)

    def own_frame(self, original: tuple[int, int]) -> Frame:
        """The whole photograph as the one size that every network takes, the one it was trained at."""
        return squeezed(original, self.card.input.sides)

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

    @property
    def title(self) -> str:
        """The name, with the output where somebody chose one of several."""
        chosen = self.output is not None and self.card.output is not None
        return f"{self.name}, {self.output}" if chosen else self.name

    def __repr__(self) -> str:
        return f"<camserve.Model {self.title}: {len(self.labels)} classes, layer {self.default_layer}>"


# Of a short side: more are no size of anything, and from 309 on no float.
_DIGITS = 6


def _count(parts: Parts, output: Output | None) -> int | None:
    """How many classes have names, by labels or by what the file of weights holds; None: not known."""
    given = count_of(parts.labels, output)
    return len(parts.found_labels) if given is None and parts.found_labels else given


def _check_labels(labels: Sequence[str] | None, classes: int, name: str, card: cards.Card) -> ClassNames:
    """The class names, "class 0" and so on where none are given. Raises ModelError where the number differs."""
    if labels is None:
        word = "output" if card.scores == "none" else "class"
        return ClassNames(f"{word} {index}" for index in range(classes))
    if len(labels) != classes:
        raise ModelError(f"'{name}' has {classes} classes, but {len(labels)} labels were given")
    return with_wnids(labels)


def _at_own_size(original: tuple[int, int], own: tuple[int, int], size: str | int) -> Frame:
    """The whole photograph as the only input a fixed network takes, (w, h). Raises OptionError for another size."""
    if size in ("fit", min(own), str(min(own))) or (size == "native" and original == own):
        return squeezed(original, own)
    what = "a square" if own[0] == own[1] else "that"
    raise OptionError(
        f"size {shown(size)}: this network takes {own[0]} x {own[1]} pixels only; use fit (the whole image, squeezed "
        f"to {what}) or crop"
    )


def _is_smaller(size: tuple[int, int], than: tuple[int, int]) -> bool:
    return size[0] < than[0] or size[1] < than[1]


def _short_side(size: str | int) -> int:
    """`size` as a number of pixels; strings of digits count, since flags and queries are strings."""
    number = int(size) if isinstance(size, str) and size.isdecimal() and len(size) <= _DIGITS else size
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 10**_DIGITS:
        raise OptionError(f"size {shown(size)} is none of: fit, crop, native, or a short side in pixels such as 320")
    return number
