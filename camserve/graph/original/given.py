"""The network as the user gave it, called as the user calls it. Every network made from it is compared with it.

When a model is loaded, these properties are found out once: how images are passed, which part of the answer is the
logits, whether the network turns them into probabilities, whether calls change its state, whether its answers are
random, and its answers at sizes other than the training size.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camserve.errors import CamserveError, ModelError, OptionError, first_line, is_interrupt
from camserve.graph.devices import structured
from camserve.graph.original.agreement import same
from camserve.graph.original.answer_parts import parts_of_answer
from camserve.graph.original.logits import Part, is_embedding, with_batch
from camserve.graph.original.of_places import Places, Region, places_in, scored
from camserve.graph.original.probabilities import Kind, kind_of, kind_of_features, undone
from camserve.graph.original.state import fingerprint, fresh, same_chance, without_hooks

UNLIKE = (
    "the network gives a different answer each time (dropout that stays on, or another random step): this is the map "
    "of one answer"
)
NO_LOGITS = (
    "the network answers with probabilities, and camserve cannot read the logits before them: it explains the "
    "logarithm of the probability"
)
PERHAPS = (
    "the network's answers look like probabilities (all between 0 and 1, or with the sum 100), but camserve does not "
    "find the step that makes them: it explains them as if they were logits"
)
NO_NUMBERS = (
    "the network answers an ordinary picture with NaN: its weights are broken, or mean and std are not those of its "
    "training"
)
NO_LENGTHS = (
    "the network scales its features to length 1, but camserve does not find that step, so gradients show only what "
    "changes the direction of the features: load the network without that step, or try a method without gradients, "
    "such as reciprocam or scorecam"
)
# If the network draws random numbers, answers are compared for this many seeds: a block that is skipped half of the
# time gives the same answer for some seeds.
_SEEDS = 8
# {multiple: pixels to add to the sides (w, h) of the training size}. For every training size and every stride up to 32,
# the larger sides have both even and odd numbers of cells, with and without padding, and at least one cell more
# (checked by tests/graph/test_guard.py and tests/graph/test_given_sizes.py). The numbers are small, because some
# networks take a limited range of sizes.
_LARGER = {1: ((53, 32), (42, 35)), 2: ((52, 42), (0, 32)), 4: ((52, 40), (0, 32)), 8: ((48, 40), (0, 32))}
_LARGER |= {16: ((48, 32), (0, 48)), 32: ((64, 32), (0, 32)), 64: ((128, 64), (0, 64))}


@dataclass(frozen=True)
class Probe:
    """The network's answer to one input.

    images: (N, c, h, w). logits: (N, C); None if the network does not take this size, and `reason` says why.
    """

    images: Tensor
    logits: Tensor | None
    reason: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(w, h)."""
        return self.images.shape[-1], self.images.shape[-2]


class Given(nn.Module):
    """images (N, c, H, W) -> logits (N, C), float32, as the user's module answers.

    module: the user's network, frozen, in evaluation mode. size: the training size (w, h), or the side of a square.
    labels: how many classes have names. output: the part of the answer that the user chose. channels: c of the images.
    as_numbers: whether answers are numbers, not classes; as_features: whether they are features of images, whose
    lengths do not matter. region: the region of an answer for places. Raises ModelError if the network cannot be called
    or does not answer with logits, UnknownName and OptionError for an output or region that does not exist.

    Properties that are found out:
    keyword: the name of the argument for images, if they must be passed by name.
    answered: the parts of the answer. part: the part with the logits. kind: what the network makes of the logits.
    scores: "softmax" or "sigmoid" if the network shows what its scores are, "none" for places, else None. dtype: of the
    network's own answers.
    places: how it answers for places, if it does; `module` is then changed to answer with scores of classes.
    classes: C. is_binary: whether it gives one logit for two class names. This is the logit of the second class, and
    its negative is the first's; C is then 2.
    remembers: whether a call can change later answers; each call of such a network uses a new copy.
    together: 1 for a network that takes only one image at a time, else 2.
    writes: whether it writes into its input images.
    multiple: sides of inputs must be multiples of this, pixels; 0: it takes only `size`.
    probes: its answers at several sizes. notes: warnings for every explanation.
    """

    def __init__(
        self,
        module: nn.Module,
        size: int | tuple[int, int],
        labels: int | None = None,
        output: str | int | None = None,
        channels: int = 3,
        *,
        as_numbers: bool = False,
        as_features: bool = False,
        region: Region | None = None,
    ) -> None:
        super().__init__()
        self.module, self.size, self.channels = module, (size, size) if isinstance(size, int) else size, channels
        self._as_numbers, self._as_features = as_numbers or as_features, as_features
        self.places: Places | None = None
        self._region = region
        self.keyword, self.notes = _keyword(module), list[str]()
        self.answered, self._output = parts_of_answer(None, 0), output
        self.part, self.kind, self.remembers, self.together, self.writes = Part(), Kind(), False, 2, False
        self.is_binary = False
        used = fresh(module)
        before = fingerprint(used)
        own = self._meet(used, labels)
        if self.places is not None:
            used = fresh(self.module)
            before = fingerprint(used)
        if any(part._forward_hooks for part in module.modules()):
            self._drop_idle_hooks()
            used = fresh(self.module)
            before = fingerprint(used)
        self._ask_sizes(lambda: used, own)
        self._find_memory(used, before)
        own = self.probes[0]
        if own.logits is None:
            raise ModelError(f"the network fails when it is called a second time: {own.reason}")

    @property
    def is_random(self) -> bool:
        """Whether it can give different answers to the same image."""
        return UNLIKE in self.notes

    @property
    def takes_any_size(self) -> bool:
        """Whether it takes inputs of other sizes and shapes than the training size."""
        return self.multiple > 0

    def forward(self, images: Tensor) -> Tensor:
        """(N, c, H, W) -> (N, C)."""
        with self.network() as network:
            return self.ask(network, images)

    def image(self, size: tuple[int, int] | None = None, count: int = 1) -> Tensor:
        """Test images (count, c, h, w) of `size` (w, h), by default the training size; see `structured`."""
        return structured(self.module, *(size or self.size), count, self.channels)

    @contextmanager
    def network(self) -> Iterator[nn.Module]:
        """The module to call: itself, or a copy for this call alone if calls change its state."""
        yield fresh(self.module) if self.remembers else self.module

    def ask(self, network: nn.Module, images: Tensor) -> Tensor:
        """The logits (N, C) of a module that `network` returned."""
        logits = undone(lambda: self._called(network, images), self.part, self.kind)
        logits = with_batch(logits.float(), images)
        return torch.cat([-logits, logits], 1) if self.is_binary else logits

    def _called(self, network: nn.Module, images: Tensor) -> Any:
        images = images.clone() if self.writes else images
        return network(images) if self.keyword is None else network(**{self.keyword: images})

    def _meet(self, used: nn.Module, labels: int | None) -> Probe:
        """Find out what and how it answers at the training size, and how many classes it has."""
        images = self.image(count=self.together)
        given = images.clone()
        try:
            with torch.no_grad(), same_chance():
                answer = self._called(used, given)
                self.writes = not torch.equal(given, images)
                if self._answers_for_places(answer, images, labels):
                    return self._meet(fresh(self.module), labels)
                self.answered = parts_of_answer(answer, len(images))
                self.part = self.answered.choose(labels, self._output, as_features=self._as_features)
                found = with_batch(self.part.of(answer), images)
                self._check(found, labels)
                if not self._as_numbers:  # a number between 0 and 1 may be a share, not a probability
                    self.kind = kind_of(lambda: self._called(used, images), self.part, found)
                if self._as_features:
                    self.kind = kind_of_features(lambda: self._called(used, images), self.part, found)
                self.is_binary = found.shape[1] == 1 and labels == 2 and not self._as_numbers
                plain = self.kind.name in ("logits", "perhaps") and not self.is_binary
                logits = found.float() if plain else self.ask(used, images)
        except CamserveError:
            raise
        except BaseException as error:  # the user's code may raise anything
            if is_interrupt(error):
                raise
            if self.together > 1:  # some networks take only one image at a time
                self.together = 1
                return self._meet(used, labels)
            raise ModelError(_why(used, images, error)) from None
        self.dtype, self.classes, self.scores = found.dtype, logits.shape[1], self.part.scores or self.kind.scores
        if self.is_binary:
            self.scores = "sigmoid"
        if self.places is not None:
            self.scores = "none"
            self.notes.append(self.places.note(self._region))
        if self.kind.name == "perhaps":
            self.notes.append(PERHAPS)
        elif self.kind.name != "logits" and not self.kind.readable:
            self.notes.append(NO_LENGTHS if self._as_features else NO_LOGITS)
        return Probe(images, logits)

    def _answers_for_places(self, answer: Any, images: Tensor, labels: int | None) -> bool:
        """Whether it answers for places; it is then changed to answer with scores of classes.

        Raises OptionError for a region if it does not.
        """
        if self.places is not None or self._as_features:
            return False
        self.places = places_in(answer, images, self.module, labels)
        if self.places is not None:
            self.module = scored(self.module, self.places, self._region)
            self._as_numbers = True
        elif self._region is not None:
            raise OptionError(
                "region is for networks that answer with a map of each class or with boxes, and this network does not: "
                "leave it out; explanation.share(region) gives the share of a region in a classifier's logit"
            )
        return self.places is not None

    def _check(self, found: Tensor, labels: int | None) -> None:
        """Raises ModelError if an answer to `together` images does not hold logits of classes."""
        if found.ndim != 2 or len(found) != self.together:
            shape = ", ".join(map(str, found.shape[1:]))
            raise ModelError(f"the network answers with shape (N, {shape}); a classifier gives (N, C)")
        if not found.is_floating_point():
            raise ModelError(f"the network answers with {found.dtype}, not with logits: it may give class indices")
        if found.shape[1] == 0:
            raise ModelError("the network answers with shape (N, 0): it has no classes")
        if found.isnan().any():
            raise ModelError(NO_NUMBERS)
        if labels is None and not self._as_numbers and is_embedding(found):
            raise ModelError(
                f"every answer of the network has length 1 ({found.shape[1]} numbers): it is an embedding, not a set "
                "of classes. Load it with scores='embedding' to see why two photographs look similar to it; put a "
                "classifier after it; or give labels if its numbers are classes"
            )

    def _drop_idle_hooks(self) -> None:
        """Remove forward hooks if the answer is the same without them.

        Hooks that only look are for the user's own calls; hooks that change the answer are part of the network.
        """
        with_hooks = self._probe(fresh(self.module), *self.size)
        if same(self._probe(without_hooks(self.module), *self.size).logits, with_hooks.logits):
            self.module = without_hooks(self.module)

    def _probe(self, network: nn.Module, width: int, height: int, *, count: int = 1, seed: int = 0) -> Probe:
        images = self.image((width, height), count)
        try:
            with torch.no_grad(), same_chance(seed):
                logits = self.ask(network, images)
            if len(logits) != len(images):  # for example a reshape that treats places as images
                return Probe(images, None, f"it answers {len(images)} images with {len(logits)} rows")
            return Probe(images, logits)
        except BaseException as error:  # for example at a size that it does not take
            if is_interrupt(error):
                raise
            return Probe(images, None, first_line(error))

    def _ask_sizes(self, network: Callable[[], nn.Module], own: Probe | None = None) -> None:
        """Try sizes that are neither squares nor multiples of the usual strides; then multiples; then a smaller size.

        own: the answer at the training size, if it is known.
        """
        width, height = self.size
        self.multiple, self.probes = 0, [own or self._probe(network(), width, height, count=self.together)]
        for multiple, more in _LARGER.items():
            if width % multiple == height % multiple == 0:
                sizes = [(width + across, height + down) for across, down in more]
                tried = [self._probe(network(), *one) for one in sizes]
                if all(one.logits is not None for one in tried):
                    self.probes += tried
                    self.multiple = multiple
                    break
        self.probes.append(self._probe(network(), width * 5 // 7, height * 5 // 7 | 1))

    def _find_memory(self, used: nn.Module, before: list[Any]) -> None:
        """Find out whether calls so far (also failed ones) change later answers, and whether answers are random."""
        asked = self.probes
        if before == fingerprint(used) and self._is_certain(lambda: used, asked[0], count=1):
            return
        self._ask_sizes(lambda: fresh(self.module))
        if not self._is_certain(lambda: fresh(self.module), self.probes[0]):
            self.notes.append(UNLIKE)
        alone = [one.logits for one in self.probes]
        after = self._asked_again(used, self.probes)
        before_that = [one.logits for one in asked]
        alike = len(before_that) == len(alone) and all(same(*pair) for pair in zip(before_that, alone, strict=True))
        self.remembers = not alike or not all(same(*pair) for pair in zip(alone, after, strict=True))

    def _is_certain(self, network: Callable[[], nn.Module], own: Probe, count: int | None = None) -> bool:
        """Whether the first `count` images, called alone and with other random numbers, get the same answer."""
        if own.logits is None:
            return False
        for seed in range(1, _SEEDS + 1):
            try:
                with torch.no_grad(), same_chance(seed) as drawn:
                    answer = self.ask(network(), own.images[:count])
            except BaseException as error:
                if is_interrupt(error):
                    raise
                return False
            if not same(answer, own.logits[:count]):
                return False
            if not any(drawn):  # no random numbers: other seeds would change nothing
                break
        return True

    def _asked_again(self, network: nn.Module, probes: list[Probe], seed: int = 0) -> list[Tensor | None]:
        return [self._probe(network, *one.size, count=len(one.images), seed=seed).logits for one in probes]


def _keyword(module: nn.Module) -> str | None:
    """The name of the argument for images, if they must be passed by name."""
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return None
    free = [one for one in parameters.values() if one.kind is not one.KEYWORD_ONLY]
    if "pixel_values" in parameters:  # the name of the images in transformers; it may not be the first argument
        return None if free and free[0].name == "pixel_values" else "pixel_values"
    first = next(iter(parameters.values()), None)
    return None if free or first is None else first.name


def _why(module: nn.Module, images: Tensor, error: BaseException) -> str:
    reason = first_line(error) or type(error).__name__
    return (
        f"the network fails on an input of {tuple(images.shape)}: {reason}. camserve calls "
        f"{type(module).__name__}(images) with float32 images (N, {images.shape[1]}, H, W). Give other arguments, "
        "which are the same for every picture, with arguments={'name': ...} in load or [arguments] in a card. If the "
        "network must be called in another way, wrap it in a module that takes images and answers with logits"
    )
