"""The evidence that one observation of a model gives to a method."""

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
    """Runs `step(item)` for every item and yields the results in order, on any number of threads."""

    def __call__(self, step: Callable[[Tensor], Result], items: Iterable[Tensor]) -> Generator[Result]:
        """Run the steps."""
        ...


def one_by_one(step: Callable[[Tensor], Result], items: Iterable[Tensor]) -> Generator[Result]:
    """Run the steps in the calling thread."""
    yield from map(step, items)


def class_probabilities(logits: Tensor) -> Tensor:
    """Return softmax over classes, (N, C); for a single logit its sigmoid, because its softmax is always 1."""
    return logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()


@dataclass(frozen=True)
class Whole:
    """The model around the layer, for methods that need more than the layer and its head.

    images: (N, c, H, W), the network's input; read only. logits: runs images on the engine, (M, c, H, W) -> (M, C),
    without autograd. network: the network as a frozen module for autograd. gradients: d target / d images,
    (M, c, H, W), faster than through `network`; None: use `network`. spread: maps on the layer's grid (M, h, w) -> maps
    over the input (M, H, W), each cell at its true place. stages: evidence at the end of every stage of the network,
    fine grids first, this layer's last. observe: evidence for other images (M, c, H, W). batch: how many images may run
    at once. progress: see Progress. steps: runs the parts of a method that needs many forward passes.
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
    """The activations of a layer, and the head after it.

    activations: (N, K, h, w); read only. head: turns them into logits.
    target: the scalar to explain, a function of logits (N, C) -> (N,). carried: see `camserve.graph.cut.Cut`.
    whole: the model around the layer; None if only layer and head are known.
    probabilities: turns logits into class probabilities, (N, C) -> (N, C).
    answered: the logits (N, C), if already known.
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
        """The activations that the network uses next: without negative values if its next step is a ReLU."""
        return self.activations.clamp(min=0) if self.head.rectified else self.activations

    @cached_property
    def logits(self) -> Tensor:
        """The model's logits, (N, C)."""
        return self.head.logits(self.activations, self.carried) if self.answered is None else self.answered

    @cached_property
    def gradients(self) -> Tensor:
        """d target / d activations, (N, K, h, w), in closed form if the head is linear."""
        return self.head.gradients(self.activations, self.target, self.carried)

    @cached_property
    def class_weights(self) -> Tensor:
        """The weight of each channel in the target's class map, (N, K). Raises OptionError without a class map."""
        return self.head.channel_weights(self.activations, self.logits, self.target)

    @property
    def around(self) -> Whole:
        """The model around the layer. Raises OptionError if it is unknown."""
        if self.whole is None:
            raise OptionError("this method runs the whole model on changed images, and only a layer is known here")
        return self.whole

    @property
    def of_probabilities(self) -> "Evidence":
        """Return the evidence with a target of probabilities instead of logits, for methods whose papers use them."""
        target, probabilities = self.target, self.probabilities
        return replace(self, target=lambda logits: target(probabilities(logits)))

    @property
    def batch(self) -> int:
        """How many variants of one image may run at once."""
        return self.whole.batch if self.whole is not None else 16

    def of_parts(
        self, count: int, step: Callable[[Tensor], Result], forwards: int = 1, batch: int | None = None
    ) -> Iterator[Result]:
        """Run `step` on the indices 0 .. count - 1 in parts, and yield the results in order.

        batch: indices in a part; by default as many as may run at once. Several threads may run steps at once, so a
        step must not change anything. After each part its forward passes, `forwards` for each index, are reported.
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
        """Return one Evidence per image, for methods that work image by image."""
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
        """Return the target (M,) for changed activations (M, K, h, w) of this single image.

        It runs in batches, without autograd.
        """
        scores = []
        for part in torch.split(changed, self.batch):
            carried = tuple(_repeated(value, len(part)) for value in self.carried)
            scores.append(self.target(self.head.logits(part, carried)))
        return torch.cat(scores)

    def score_images(self, changed: Tensor) -> Tensor:
        """Return the target (M,) of changed images (M, c, H, W). It runs in batches, without autograd."""
        parts = torch.split(changed, self.around.batch)
        return torch.cat([self.target(self.around.logits(part)) for part in parts])

    def image_gradients(self, images: Tensor | None = None) -> Tensor:
        """Return d target / d images through the whole network, (M, c, H, W); by default for the input itself."""
        given = self.around.images if images is None else images
        if self.around.gradients is not None:
            return self.around.gradients(given, self.target)
        return gradients(lambda leaf: self.target(self.around.network(leaf[0])).sum(), [given])[0]

    def report(self, done: int, total: int) -> None:
        """Report how many forward passes are done, and how many there are in all."""
        if self.whole is not None and self.whole.progress is not None:
            self.whole.progress(done, total)


def image_by_image(method: Callable[[Evidence], Tensor]) -> Callable[[Evidence], Tensor]:
    """Make a method for one image work for any number of images."""

    @wraps(method)
    def of_each(evidence: Evidence) -> Tensor:
        return torch.cat([method(one) for one in evidence.each()])

    return of_each


def _repeated(value: Any, times: int) -> Any:
    """Repeat a carried value of one image for `times` variants of the image."""
    return value.expand(times, *value.shape[1:]) if isinstance(value, Tensor) and len(value) == 1 else value
