"""The data that all checks share: a model, its layer, the method, the pictures, their explanations and maps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from camserve.catalogue.method import Method
from camserve.catalogue.methods import AUTO, find_method
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Target, resolve_target
from camserve.errors import OptionError
from camserve.evaluation.checked_pictures import pictures_for
from camserve.explain.observation import choose_method, evidence_of
from camserve.explain.pipeline import explain
from camserve.explain.run import Observed
from camserve.explanation.explanation import Explanation
from camserve.images.reading import Photo, Source
from camserve.methods.apply import apply
from camserve.models.classifier import Classifier
from camserve.models.inputs.preprocessing import to_input
from camserve.models.layer import Layer

Float32 = npt.NDArray[np.float32]
R = TypeVar("R")

CONSTANT = "the maps are constant, so there is nothing to compare"


@dataclass(frozen=True, eq=False)
class Bench:
    """A model and the pictures for its checks. photos: the pictures. are_photographs: False if they are made ones.

    The checks use the model's own evaluation crop of every picture, and explain the predicted class.
    """

    model: Classifier
    method: Method
    photos: tuple[Photo, ...]
    are_photographs: bool

    @cached_property
    def explanations(self) -> tuple[Explanation, ...]:
        """The explanation of each picture, by the same code that users call."""
        return tuple(self.explained(photo) for photo in self.photos)

    def explained(self, photo: Photo) -> Explanation:
        """Explain one picture."""
        return explain(self.model, photo, options=ExplainOptions(method=self.method.name, size="crop"))

    @cached_property
    def layer(self) -> Layer:
        """The model's own layer. Raises ModelError for a model file that torch cannot run as a network."""
        return self.model.layer()

    @cached_property
    def layer_grid(self) -> tuple[int, int]:
        """(h, w): the numbers of cells of the layer for these inputs."""
        seen = self.run(lambda: self.layer.on_torch.activations(self.inputs[0])[0])
        return seen.shape[-2], seen.shape[-1]

    @cached_property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """The network's input for each picture, (1, c, h, w)."""
        spec = self.model.card.input
        return tuple(to_input(photo, self.model.frame(photo.size, "crop"), spec) for photo in self.photos)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The target of each picture's explanation."""
        return tuple(found.target for found in self.explanations)

    @cached_property
    def maps(self) -> tuple[Float32, ...]:
        """The map (h, w) of each picture at the layer."""
        return tuple(self.map(*pair) for pair in zip(self.inputs, self.targets, strict=True))

    @property
    def has_maps(self) -> bool:
        """Whether any map is not constant."""
        return any(np.ptp(one) > 0 for one in self.maps)

    @cached_property
    def logits(self) -> torch.Tensor:
        """The logits of all pictures, (N, C)."""
        return torch.from_numpy(np.stack([found.logits for found in self.explanations]))

    def map(
        self, images: torch.Tensor, target: Target, other: Classifier | None = None, seen: "Observed | None" = None
    ) -> Float32:
        """The map (h, w) of an input (1, c, H, W). other: used in place of the own model. seen: from `observe`."""
        model = other or self.model
        layer = self.layer if other is None else other.layer(self.layer.name)

        def made() -> Float32:
            evidence = evidence_of(model, layer, images, target, seen or layer.observe(images))
            found: Float32 = apply(self.method, evidence)[0].cpu().numpy()
            return found

        return self.run(made)

    def target_of(self, index: int) -> Target:
        """The target for a class, with the model's own quantity."""
        return resolve_target(index, self.logits[0].numpy(), self.model.labels, self.model.quantity)

    def run(self, task: Callable[[], R]) -> R:
        """Run `task()` on a worker, as all code that runs the network must."""
        return self.model.workers.run(task)

    def with_module(self, module: nn.Module) -> Classifier:
        """The same model with another module, a copy with other weights; it runs on torch."""
        settings = self.model.settings
        compute = settings.compute.model_copy(update={"engine": "torch"})
        return self.model.with_weights_of(module, settings.model_copy(update={"compute": compute}))


def bench_of(model: Classifier, images: Iterable[Source] | None = None, method: str | None = None) -> Bench:
    """Make the bench. images: see `checked_pictures`. method: default: the method of the settings.

    Raises OptionError if the model gives features, not classes, UnknownName, ImageError.
    """
    if model.card.scores == "embedding":
        raise OptionError(f"'{model.name}' gives features, not classes, so there is no map of a class to check")
    name = method or model.settings.explain.method
    photos, are_photographs = pictures_for(model, images)
    if name != AUTO:
        chosen = find_method(name)
    elif model.closed is not None:
        chosen = find_method("cam")
    else:
        chosen = choose_method(AUTO, model.layer())
    return Bench(model, chosen, photos, are_photographs)
