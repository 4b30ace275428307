"""A model: a card and a frozen network with its layers. It does not import explanations."""

import copy
import hashlib
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from camserve.catalogue.class_names import ClassNames
from camserve.catalogue.option_metadata import checked
from camserve.catalogue.options import ExplainOptions
from camserve.config import schema as config
from camserve.errors import CutError, ModelError, OptionError
from camserve.geometry.frame import Frame, check_cells, squeezed
from camserve.models import card as cards
from camserve.models.compiled.closed_network import closed_of
from camserve.models.compiled.model_file import is_model_file
from camserve.models.inputs.framing import frame_of
from camserve.models.labels import with_aliases, with_wnids
from camserve.models.output_names import Output, count_of, labels_of, output_of
from camserve.models.parts import Parts
from camserve.system.kept import Kept
from camserve.system.workers import Pool, Workers, shared

# Torch is imported only when the network is needed. A model file that is explained in closed form does not need it, and
# the import takes longer than an explanation.
if TYPE_CHECKING:
    from torch import nn

    from camserve.graph.network import Network
    from camserve.models.compiled.closed import EngineFacts
    from camserve.models.compiled.closed_network import ClosedFacts
    from camserve.models.engines.engine import Engine
    from camserve.models.layer import Layer
    from camserve.models.words.rewording import Swap

log = logging.getLogger("camserve")

# Each cached layer holds its own folded copy of the body's weights, so only the latest few are cached.
_LAYERS_KEPT = 8
# Lists of sentences whose classifiers are cached; all share one network.
_WORDINGS_KEPT = 16


class _Met(NamedTuple):
    """A network that has been inspected. default_layer: the card's layer, or the last one with spatial cells."""

    module: "nn.Module"
    network: "Network"
    default_layer: str


class Classifier:
    """A frozen snapshot of a classifier; safe to share between threads.

    name, card, labels. module: the network, frozen and in evaluation mode. home: the card's file, None for a module.
    closed: computes the exact maps without torch and autograd, for a model file or a network that OpenVINO runs; None
    for other models.
    settings: the defaults of every option. outputs: the names of the parts (N, C) of the network's answer, () if
    it is one tensor; output: the part that this classifier explains, None if there is only one.
    Later training of the user's module does not change the classifier, and the classifier does not change the module.
    """

    def __init__(self, parts: Parts) -> None:
        self.name, self.card, self.home, self.settings = parts.name, parts.card, parts.home, parts.settings
        self.words = parts.words
        self._weights_sha256 = parts.weights_sha256
        self._layers: Kept[tuple[str, int | None], Layer] = Kept(_LAYERS_KEPT)
        self._others, self._other = dict[str, Self](), threading.Lock()
        self._worded: Kept[tuple[str, ...], Self] = Kept(_WORDINGS_KEPT)
        self._origin: Self | None = None
        self._swap: Swap = {}
        self._parts, self._meeting = parts, threading.Lock()
        self._known: _Met | None = None
        self.closed = closed_of(parts.closed, self.layer)
        if self.closed is not None:
            self.outputs: tuple[str, ...] = ()
            self.output: str | None = None
            labels = parts.labels if isinstance(parts.labels, Sequence) else None
            named = _check_labels(labels, self.closed.classes, self.name, self.card)
            self.labels = with_aliases(named, self.card.aliases, all_known=True)
            return
        self._parts = parts._replace(module=self.module, checkpoint=None)
        answered, part = self.network.given.answered, self.network.given.part
        self.outputs, self.output = answered.outputs, part.name if len(answered.outputs) > 1 else None
        labels = labels_of(part, answered, parts.labels, parts.output, parts.card.output)
        if labels is None and self.output in (None, "logits") and len(parts.found_labels or ()) == self.network.classes:
            labels = parts.found_labels
        named = _check_labels(labels, self.network.classes, self.name, self.card)
        self.labels = with_aliases(named, self.card.aliases, all_known=self.output is None)
        self.closed = closed_of(self.workers.run(lambda: self._facts(parts.kept_at)), self.layer)

    def _facts(self, kept_at: Path | None) -> "ClosedFacts | None":
        """The closed form of the network, if there is one; it is also saved on disk if `kept_at` is given."""
        network, layer = self.network, self.layer()
        says_more = network.given.is_random or network.is_extended or self.notes(layer.trained, (layer.name,))
        if says_more or self.words is not None or self.output is not None:
            return None
        from camserve.models.compiled.closed_network import facts_of

        facts = facts_of(layer, any_size=network.takes_any_size, multiple=network.multiple)
        if facts is not None and kept_at is not None and facts.compiled.file is not None:
            from camserve.models.compiled.kept_closed import keep

            keep(kept_at, facts, self.card, tuple(self.labels), facts.compiled.file)
        return facts

    @property
    def quantity(self) -> str:
        """Which quantity of a class is explained by default: see `catalogue.methods.QUANTITIES`."""
        return "logit" if self.words is None else "contrast"

    @property
    def workers(self) -> Workers:
        """The pool of workers of this process for these settings."""
        compute = self.settings.compute
        return shared(compute.workers, compute.threads)

    @property
    def module(self) -> "nn.Module":
        """The network, frozen and in evaluation mode."""
        return self._met.module

    @property
    def network(self) -> "Network":
        """The network as a graph, out of which layers are cut."""
        return self._met.network

    @property
    def default_layer(self) -> str:
        """The layer that is explained if the user names none."""
        return self._met.default_layer if self.closed is None else self.closed.name

    @property
    def engine(self) -> "Engine | EngineFacts":
        """The engine that runs the default layer."""
        return self.layer().engine if self.closed is None else self.closed.engine

    @property
    def _met(self) -> _Met:
        """The network, which is built and inspected at the first use."""
        if self._known is None:
            import torch  # noqa: F401 - loaded first, so that a worker can set its number of threads

            self.workers.run(self._look)
        assert self._known is not None
        return self._known

    def met_with(self, network: "Network") -> _Met:
        """A copy of the inspected network with `network` instead of its own."""
        return self._met._replace(network=network)

    def _look(self) -> None:
        """Build and inspect the network, on a worker, since workers limit the threads."""
        from camserve.graph.devices import find_device

        parts = self._parts
        try:
            with self._meeting:  # a thread that holds this lock never waits for a worker
                if self._known is None:
                    module = parts.network().to(find_device(self.settings.compute.device))
                    self._known = self._meet(module, parts)
        except OptionError as error:
            if self.home is None or parts.output is not None or parts.has_layer:
                raise
            raise ModelError(f"the card '{self.home}' is wrong: {error}") from None

    def _meet(self, module: "nn.Module", parts: Parts) -> _Met:
        """Inspect the network. Raises OptionError if the card, or the caller, states something wrong about it."""
        from camserve.graph.network import network_of
        from camserve.models.dense import last_of_backbone
        from camserve.models.inputs.channels import met

        chosen, own = output_of(parts.output, self.card.output, parts.labels), self.card.input
        most = self.settings.explain.max_input_megapixels
        for key, (width, height) in {"size": own.sides, "fit": (own.fit_side, own.fit_side)}.items():
            if width * height > most * 1e6:
                raise OptionError(
                    f"{key}: the network's input would be {width} x {height} pixels; allowed are {most:g} megapixels "
                    "(explain.max_input_megapixels)"
                )
        given, self.card = met(module, self.card, _count(parts, chosen), chosen)
        if chosen is not None:
            self.card = self.card.model_copy(update={"output": given.part.name})
        if given.scores is not None and self.card.has_scores:
            self.card = self.card.model_copy(update={"scores": given.scores})
        network = network_of(given)
        if given.places is not None and self.card.layer is None:
            self.card = self.card.model_copy(update={"layer": last_of_backbone(network.layers(), given.size)})
        found = _Met(given.module, network, self.card.layer or network.default_layer())
        try:
            self._keep(found)
        except CutError as error:
            if network.graph is None:
                raise
            log.warning("%s: the network itself is run, with a hook", error)
            network = network_of(given, by_hook=True)
            found = found._replace(network=network, default_layer=self.card.layer or network.default_layer())
            self._keep(found)
        return found

    def _keep(self, found: _Met) -> None:
        """Make the default layer and cache it. Raises CutError."""
        made = self._cut_at(found.network, found.default_layer, None, is_own=True)
        self._layers.put((found.default_layer, None), made)

    def of_output(self, output: str | int | None, pool: Pool | None = None, deadline: float | None = None) -> Self:
        """The classifier of another output of the same network, made at the first use and cached; None: this one.

        output: a name, the end of one, or an index. pool: the workers that make it. deadline: seconds. Raises
        UnknownName, which lists the outputs, OptionError for a network with one output, ModelError, DeadlinePassed.
        """
        if (ready := self.ready_output(output)) is not None:
            return ready
        name = self.network.given.answered.named(checked(ExplainOptions, "output", output)).name
        return (pool or self.workers).run(lambda: self._of_output(name), deadline)

    def ready_output(self, output: str | int | None) -> Self | None:
        """What `of_output` returns, if it is in the cache; else None. Raises as `of_output`."""
        if (output := checked(ExplainOptions, "output", output)) is None:
            return self
        name = self.network.given.answered.named(output).name
        return self if name == self.network.given.part.name else self._others.get(name)

    def _of_output(self, name: str) -> Self:
        """Must run on a worker: it builds in place, and never waits for another worker."""
        with self._other:
            if name not in self._others:
                labels = self._parts.labels if isinstance(self._parts.labels, Mapping) else None
                parts = self._parts._replace(labels=labels, output=name)
                self._others[name] = type(self)(parts)
            return self._others[name]

    def of_labels(self, labels: Sequence[str] | None, pool: Pool | None = None, deadline: float | None = None) -> Self:
        """The classifier of other sentences with the same network; None: this one. The latest are cached.

        pool: the workers that encode the sentences. deadline: seconds. Raises OptionError if the classes are
        fixed or a sentence is not valid; DeadlinePassed.
        """
        if labels is None or tuple(labels) == self.labels:
            return self
        if self.words is None:
            raise OptionError(
                f"labels: the classes of '{self.name}' are fixed; only a model that compares images with sentences, "
                "such as clip:FOLDER, takes others. Give names of classes when you load a model, "
                "load(..., labels=...), or make a card, camserve add ... --labels FILE"
            )
        workers = pool or self.workers
        return self._worded.get(tuple(labels), lambda: workers.run(lambda: self._of_labels(tuple(labels)), deadline))

    def _of_labels(self, labels: tuple[str, ...]) -> Self:
        from camserve.models.words.rewording import layer_with, network_with, swap_of, swapped

        assert self.words is not None
        swap = swap_of(self.module, self.words.features(labels), self.words.bias)
        if layer_with(self.layer(), swap) is None:  # its head was not recognised: build a new classifier
            return type(self)(self._parts._replace(module=swapped(self.module, swap), labels=labels))
        _ = self.described  # computed now, before the copy: it describes the original model
        made = copy.copy(self)
        made._known = _Met(swapped(self.module, swap), network_with(self.network, swap), self.default_layer)
        made.labels, made._origin, made._swap = ClassNames(labels), self, swap
        made._layers, made._worded = Kept(_LAYERS_KEPT), Kept(_WORDINGS_KEPT)
        return made

    def of_module(self, module: "nn.Module", scores: str) -> Self:
        """A classifier of another module with the same input, whose outputs have no names."""
        card = self.card.model_copy(update={"scores": scores, "output": None})
        return type(self)(
            self._parts._replace(
                module=module, card=card, labels=None, found_labels=None, output=None, closed=None, make=None
            )
        )

    def with_weights_of(self, module: "nn.Module", settings: config.Settings) -> Self:
        """A classifier of a copy of this network with other weights. settings: instead of this classifier's."""
        return type(self)(self._parts._replace(module=module, settings=settings, closed=None, make=None))

    def notes(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """Notes about the network for explanations of inputs of `size` (w, h) at these layers."""
        chosen = () if self.card.layer else layers  # no notes about a layer that the card names
        return () if self.closed is not None else (*self.network.given.notes, *self.network.notes_at(size, chosen))

    def layer(self, name: str | None = None, output_stride: int | None = None) -> "Layer":
        """The layer of that name, by default the model's own.

        Raises UnknownName with close matches, OptionError, TooMuch for more cells than `explain.max_cells`.
        """
        name = checked(ExplainOptions, "layer", name)
        output_stride = checked(ExplainOptions, "output_stride", output_stride)
        self.check_stride(output_stride)
        key = (name or self.default_layer, output_stride)
        return self._layers.get(key, lambda: self._made(key))

    def check_stride(self, output_stride: int | None) -> None:
        """Raise TooMuch if the network, dilated to this stride, has too many cells at the training size."""
        if output_stride is not None:
            check_cells(self.card.input.sides, output_stride, self.settings.explain.max_cells)

    def has_ready(self, name: str | None = None) -> bool:
        """Whether the layer, by default the model's own, is in the cache."""
        is_closed = self.closed is not None and name in (None, self.closed.name)
        return is_closed or (name or self.default_layer, None) in self._layers

    def _made(self, key: tuple[str, int | None]) -> "Layer":
        if self._origin is not None:
            from camserve.models.words.rewording import layer_with

            layer = layer_with(self._origin.layer(*key), self._swap)
            if layer is None:
                raise OptionError(f"layer '{key[0]}' works only with the model's own sentences; leave labels out")
            return layer
        network, (name, output_stride) = self.network, key
        if self.closed is not None and name == self.closed.name and name not in network.layers():
            name = self._met.default_layer  # for example, a sum has no name of its own in the network
        is_own = name == self._met.default_layer and output_stride is None
        return self._cut_at(network, name, output_stride, is_own=is_own)

    def _cut_at(self, network: "Network", name: str, output_stride: int | None, *, is_own: bool) -> "Layer":
        from camserve.models.inputs.calibration_photos import calibration_of
        from camserve.models.layer import Layer

        measured = self.card.placement
        offset = measured.offset if measured and measured.layer == name else None
        compute = self._compute(is_own=is_own)
        calibration = None if compute is None else calibration_of(self.settings, self.card.input, network)
        return Layer(network, name, output_stride, offset, compute, calibration)

    def _compute(self, *, is_own: bool) -> config.Compute | None:
        """The settings that choose a layer's engine; None: torch, if "auto" would spend a second for few images."""
        lasting = is_own and (self.home is not None or is_model_file(self.card.architecture))
        return self.settings.compute if lasting or self.settings.compute.engine != "auto" else None

    def forget_sizes(self) -> None:
        """Clear the engines' caches for input sizes seen before."""
        for layer in self._layers.values():
            layer.engine.forget_sizes()
        for other in list(self._others.values()):
            other.forget_sizes()

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be explained, in order, with its maps (K, h, w) at the training size."""
        return self.network.layers()

    def frame(self, original: tuple[int, int], size: str | int | None = None) -> Frame:
        """How a photograph of `original` (W, H) becomes the input: fit, crop, native or a short side."""
        size = self.settings.explain.size if size is None else checked(ExplainOptions, "size", size)
        sizes = self.network if self.closed is None and size != "crop" else self.closed
        return frame_of(self.card.input, self.settings.explain, sizes, original, size)

    def own_frame(self, original: tuple[int, int]) -> Frame:
        """The whole photograph, resized to the training size, which every network takes."""
        return squeezed(original, self.card.input.sides)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, or, for a module, of its parameters and buffers by name."""
        if self._weights_sha256 is not None:
            return self._weights_sha256
        from camserve.models.snapshot import add_weights

        digest = hashlib.sha256()
        add_weights(digest, self.module)
        return digest.hexdigest()

    @cached_property
    def described(self) -> dict[str, Any]:
        """Name, hash of the weights and card, as plain values: the description of the model in results."""
        card = self.card.model_dump(mode="json", exclude={"known"})
        return {"name": self.name, "weights_sha256": self.weights_sha256, "card": card}

    @property
    def title(self) -> str:
        """The name, with the output if the user chose one of several."""
        chosen = self.output is not None and self.card.output is not None
        return f"{self.name}, {self.output}" if chosen else self.name

    def __repr__(self) -> str:
        return f"<camserve.Model {self.title}: {len(self.labels)} classes, layer {self.default_layer}>"


# Names of outputs without a label that are not classes.
_WORDS = {"none": "output", "embedding": "feature"}


def _count(parts: Parts, output: Output | None) -> int | None:
    """The number of named classes, from labels or from the file of weights; None if unknown."""
    given = count_of(parts.labels, output)
    return len(parts.found_labels) if given is None and parts.found_labels else given


def _check_labels(labels: Sequence[str] | None, classes: int, name: str, card: cards.Card) -> ClassNames:
    """The class names, "class 0" and so on if there are none. Raises ModelError if the number differs."""
    if labels is None:
        word = _WORDS.get(card.scores, "class")
        return ClassNames(f"{word} {index}" for index in range(classes))
    if len(labels) != classes:
        raise ModelError(f"'{name}' has {classes} classes, but {len(labels)} labels were given")
    return with_wnids(labels)
