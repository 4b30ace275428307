"""What one observation of a model gives a method."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from camserve.catalogue.method import Progress
from camserve.errors import OptionError
from camserve.graph.differentiation import gradients
from camserve.graph.heads import Head, TargetFunction

Result = TypeVar("Result")


class Steps(Protocol):
    """`step(item)` for every item, in order; who does them, and how many at once, is its own business."""

    def __call__(self, step: Callable[[Tensor], Result], items: Iterable[Tensor]) -> Generator[Result]:
        """As above."""
        ...


def one_by_one(step: Callable[[Tensor], Result], items: Iterable[Tensor]) -> Generator[Result]:
    """Steps without help."""
    yield from map(step, items)


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax over classes, (N, C); the sigmoid of a single logit, whose softmax would be 1 whatever it is."""
    return logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()


@dataclass(frozen=True)
class Whole:
    """The model around the layer, for methods that ask more than the layer and its head.

    images: (N, c, H, W), the network's input, to be read only. logits: runs such images, (M, c, H, W) -> (M, C),
    without autograd, on the engine. network: the same as a module that autograd can go through, frozen.
    gradients: d target / d such images, (M, c, H, W), quicker than through `network`; None: through it.
    spread: maps on the layer's grid (M, h, w) -> laid over the input, (M, H, W), by their true places.
    stages: the same evidence at the end of every stage of the network, fine grids first, this layer's last.
    observe: the same evidence of other images (M, c, H, W).
    batch: how many images may be run at once. progress: see Progress. steps: who runs the parts of a method that runs
    many.
    """

    images: Tensor
    logits: Callable[[Tensor], Tensor]
    network: nn.Module
    spread: Callable[[Tensor], Tensor]
    stages: "Callable[[], Sequence[Evidence]]"
    observe: "Callable[[Tensor], Evidence]"
    batch: int = 16
    progress: Progress | None = None
    gradients: Callable[[Tensor, TargetFunction], Tensor] | None = None
    steps: Steps = one_by_one


@dataclass(frozen=True)
class Evidence:
    """Activations of a layer, and what can be asked about the head behind it.

    activations: (N, K, h, w), to be read only. head: what turns them into logits.
    target: the scalar to explain, a function of logits (N, C) -> (N,). carried: see `camserve.graph.cut.Cut`.
    whole: the model around the layer; None where only layer and head are known.
    probabilities: what makes class probabilities of logits, (N, C) -> (N, C).
    answered: the logits (N, C), where they are known.
    """

    activations: Tensor
    head: Head
    target: TargetFunction
    carried: tuple[Any, ...] = ()
    whole: Whole | None = None
    probabilities: Callable[[Tensor], Tensor] = class_probabilities
    answered: Tensor | None = None

    @property
    def fired(self) -> Tensor:
        """Activations as the network goes on with them: nothing is negative where its next step is a ReLU."""
        return self.activations.clamp(min=0) if self.head.rectified else self.activations

    @cached_property
    def logits(self) -> Tensor:
        """What the model answers, (N, C)."""
        return self.head.logits(self.activations, self.carried) if self.answered is None else self.answered

    @cached_property
    def gradients(self) -> Tensor:
        """d target / d activations, (N, K, h, w), in closed form where the head is linear."""
        return self.head.gradients(self.activations, self.target, self.carried)

    @cached_property
    def class_weights(self) -> Tensor:
        """What each channel weighs in the target's class map, (N, K). Raises OptionError where there is none."""
        return self.head.channel_weights(self.activations, self.logits, self.target)

    @property
    def around(self) -> Whole:
        """The model around the layer. Raises OptionError where it is not known."""
        if self.whole is None:
            raise OptionError("this method runs the whole model on changed images, and only a layer is known here")
        return self.whole

    @property
    def of_probabilities(self) -> "Evidence":
        """The same, with the target asked of probabilities in the logits' place, for methods whose papers do."""
        target, probabilities = self.target, self.probabilities
        return replace(self, target=lambda logits: target(probabilities(logits)))

    @property
    def batch(self) -> int:
        """How many variants of one image may be run at once."""
        return self.whole.batch if self.whole is not None else 16

    def of_parts(
        self, count: int, step: Callable[[Tensor], Result], forwards: int = 1, batch: int | None = None
    ) -> Iterator[Result]:
        """`step` of 0 .. count - 1, `batch` or as many at once as may be run, in order: what each part gives.

        Several threads may do steps at once, so one must not change anything. After each part its forwards, so many for
        each, are reported.
        """
        every, size = torch.arange(count, device=self.activations.device), batch or self.batch
        parts = [every[start : start + size] for start in range(0, count, size)]
        steps, done = one_by_one if self.whole is None else self.whole.steps, 0
        with closing(steps(step, parts)) as results:
            for part, result in zip(parts, results, strict=True):
                yield result
                done += len(part)
                self.report(done * forwards, count * forwards)

    def each(self) -> "list[Evidence]":
        """One Evidence per image, for methods that work image by image."""
        if len(self.activations) == 1:
            return [self]
        return [self._one(index) for index in range(len(self.activations))]

    def _one(self, index: int) -> "Evidence":
        def mine(value: Any) -> Any:
            return value[index : index + 1] if isinstance(value, Tensor) else value

        whole = self.whole
        if whole is not None:
            stages = whole.stages
            whole = replace(whole, images=mine(whole.images), stages=lambda: [stage._one(index) for stage in stages()])
        carried = tuple(mine(value) for value in self.carried)
        answered = mine(self.answered)
        return replace(self, activations=mine(self.activations), carried=carried, whole=whole, answered=answered)

    def score_layer(self, changed: Tensor) -> Tensor:
        """The target with changed activations (M, K, h, w) of this one image in the layer's place: (M,).

        In batches; without autograd.
        """
        scores = []
        for part in torch.split(changed, self.batch):
            carried = tuple(_repeated(value, len(part)) for value in self.carried)
            scores.append(self.target(self.head.logits(part, carried)))
        return torch.cat(scores)

    def score_images(self, changed: Tensor) -> Tensor:
        """The target of changed images (M, c, H, W): (M,). In batches; without autograd."""
        parts = torch.split(changed, self.around.batch)
        return torch.cat([self.target(self.around.logits(part)) for part in parts])

    def image_gradients(self, images: Tensor | None = None) -> Tensor:
        """d target / d images through the whole network, (M, c, H, W); of the input itself where none are given."""
        given = self.around.images if images is None else images
        if self.around.gradients is not None:
            return self.around.gradients(given, self.target)
        return gradients(lambda leaf: self.target(self.around.network(leaf[0])).sum(), [given])[0]

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits how many forwards of how many are done."""
        if self.whole is not None and self.whole.progress is not None:
            self.whole.progress(done, total)


def image_by_image(method: Callable[[Evidence], Tensor]) -> Callable[[Evidence], Tensor]:
    """`method`, written for one image, for any number of them."""

    @wraps(method)
    def of_each(evidence: Evidence) -> Tensor:
        return torch.cat([method(one) for one in evidence.each()])

    return of_each


def _repeated(value: Any, times: int) -> Any:
    """A carried value of one image, for `times` variants of it."""
    return value.expand(times, *value.shape[1:]) if isinstance(value, Tensor) and len(value) == 1 else value
