"""What all checks share: a model, its layer, the method, the pictures with their explanations, and maps of inputs."""

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
    """The model on the bench. photos: what it is checked with; are_photographs: whether somebody chose them.

    Every picture is seen as the model's own evaluation crop, for the class that the model predicts.
    """

    model: Classifier
    method: Method
    photos: tuple[Photo, ...]
    are_photographs: bool

    @cached_property
    def explanations(self) -> tuple[Explanation, ...]:
        """Of each picture, as users get them."""
        return tuple(self.explained(photo) for photo in self.photos)

    def explained(self, photo: Photo) -> Explanation:
        """The explanation of one picture."""
        return explain(self.model, photo, options=ExplainOptions(method=self.method.name, size="crop"))

    @cached_property
    def layer(self) -> Layer:
        """The model's own layer, of its network. Raises ModelError for a model file that is no network for torch."""
        return self.model.layer()

    @cached_property
    def layer_grid(self) -> tuple[int, int]:
        """(h, w), the cells of the layer for these inputs."""
        seen = self.run(lambda: self.layer.on_torch.activations(self.inputs[0])[0])
        return seen.shape[-2], seen.shape[-1]

    @cached_property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Of each picture, (1, c, h, w)."""
        spec = self.model.card.input
        return tuple(to_input(photo, self.model.frame(photo.size, "crop"), spec) for photo in self.photos)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What of each picture is explained."""
        return tuple(found.target for found in self.explanations)

    @cached_property
    def maps(self) -> tuple[Float32, ...]:
        """Of each picture, (h, w), by its network at the layer."""
        return tuple(self.map(*pair) for pair in zip(self.inputs, self.targets, strict=True))

    @property
    def has_maps(self) -> bool:
        """Whether any map differs from place to place."""
        return any(np.ptp(one) > 0 for one in self.maps)

    @cached_property
    def logits(self) -> torch.Tensor:
        """Of all pictures, (N, C)."""
        return torch.from_numpy(np.stack([found.logits for found in self.explanations]))

    def map(
        self, images: torch.Tensor, target: Target, other: Classifier | None = None, seen: "Observed | None" = None
    ) -> Float32:
        """The map (h, w) of an input (1, c, H, W). other: by this model in place of the own. seen: what it showed."""
        model = other or self.model
        layer = self.layer if other is None else other.layer(self.layer.name)

        def made() -> Float32:
            evidence = evidence_of(model, layer, images, target, seen or layer.observe(images))
            found: Float32 = apply(self.method, evidence)[0].cpu().numpy()
            return found

        return self.run(made)

    def target_of(self, index: int) -> Target:
        """A class as the model's classes are explained."""
        return resolve_target(index, self.logits[0].numpy(), self.model.labels, self.model.quantity)

    def run(self, task: Callable[[], R]) -> R:
        """`task()` on a worker, as everything that runs the network."""
        return self.model.workers.run(task)

    def with_module(self, module: nn.Module) -> Classifier:
        """A model of a copy of the network that has other weights, on torch."""
        settings = self.model.settings
        compute = settings.compute.model_copy(update={"engine": "torch"})
        return self.model.with_weights_of(module, settings.model_copy(update={"compute": compute}))


def bench_of(model: Classifier, images: Iterable[Source] | None = None, method: str | None = None) -> Bench:
    """The bench. images: see `checked_pictures`. method: default the settings'.

    Raises OptionError where the model gives features, which are of no class, UnknownName, ImageError.
    """
    if model.card.scores == "embedding":
        raise OptionError(f"'{model.name}' gives features, not classes: there is no class whose map could be checked")
    name = method or model.settings.explain.method
    photos, are_photographs = pictures_for(model, images)
    if name != AUTO:
        chosen = find_method(name)
    elif model.closed is not None:
        chosen = find_method("cam")
    else:
        chosen = choose_method(AUTO, model.layer())
    return Bench(model, chosen, photos, are_photographs)
