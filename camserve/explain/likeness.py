"""Why two photographs look alike to an embedding: where the cosine between their features comes from.

With f and g the features of the two, the likeness is f.g / (|f| |g|). If the embedding is a mean over places of
something linear in the activations, f = b + mean W A, the map g W A / (|f| |g|) is exact: its mean, plus
g b / (|f| |g|), is the likeness. Other embeddings are explained by gradients.
Both ways keep the lengths fixed. The plain gradient of a cosine is at right angles to f, so a map made of it sums to
zero: it shows what would turn the feature, not what the feature consists of.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camserve.catalogue.class_names import ClassNames
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import PREDICTED, TargetOption, is_photograph
from camserve.errors import OptionError, shown
from camserve.explain.at_size import at_size
from camserve.explain.run import Run
from camserve.explanation.explanation import Explanation
from camserve.geometry.frame import Frame
from camserve.graph.heads import Carried, ClassMapHead, Head, LinearHead, PooledHead
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier
from camserve.models.headless import as_embedding
from camserve.models.inputs.preprocessing import to_input
from camserve.models.layer import Layer

# The pipeline's `explain`, for one class of a photograph.
Explain = Callable[[Classifier, Photo, TargetOption, ExplainOptions, Run], Explanation]


def is_likeness(model: Classifier, target: TargetOption) -> bool:
    """Whether a target is another photograph, or is left out for an embedding, which takes no text (OptionError)."""
    if is_photograph(target):
        return True
    if model.card.scores != "embedding" or isinstance(model, Alike):
        return False
    if target is None or target in ("", PREDICTED):
        return True
    if isinstance(target, str) and target not in model.labels:
        raise OptionError(
            f"target {shown(target)}: '{model.name}' gives an embedding, which has no classes. Compare the image with "
            "another photograph: --like FILE, the form's file 'like', or target=PATH in Python"
        )
    return False


def explain_likeness(
    explain: Explain, model: Classifier, photo: Photo, other: Photo | None, options: ExplainOptions, run: Run
) -> Explanation:
    """Explain why two photographs look alike; the explanation's `other` explains the second photograph.

    other: None explains where the photograph's own features come from. explain: the function that explains one class.
    Raises OptionError for options that are about classes, and the errors of `explain`.
    """
    if options.expected is not None or options.quantity != "logit":
        raise OptionError("expected and quantity are about classes, and a likeness of two photographs has none")
    model, options = as_embedding(model), replace(options, output=None)
    features = partial(_features, model, options=options, run=run)
    own = features(photo)
    if other is None:
        return explain(Alike(model, "likeness to itself", own, own), photo, 0, options, run)
    theirs = features(other)
    made, their = (
        explain(Alike(model, f"likeness to {name}", mine, to), one, 0, options, run)
        for one, mine, to, name in ((photo, own, theirs, other.name), (other, theirs, own, photo.name))
    )
    return replace(made, other=their)


def _features(model: Classifier, photo: Photo, options: ExplainOptions, run: Run) -> Tensor:
    """Return the features (D,) of the map's input."""
    layer = model.layer()

    def seen(frame: Frame) -> Tensor:
        logits: Tensor = run.forward(layer, to_input(photo, frame, model.card.input))[2]
        return logits[0]

    return at_size(model, photo, options.size or model.settings.explain.size, seen, run)[2]


class Alike(Classifier):
    """An embedding model as a classifier with one class: how much an image is like another image.

    own: the features (D,) of the explained photograph. other: the features (D,) that they are compared with. Everything
    else is shared with `model`. An Alike is made for one explanation.
    """

    def __init__(self, model: Classifier, name: str, own: Tensor, other: Tensor) -> None:
        vars(self).update(vars(model))
        self.labels = ClassNames([name])
        self._model, self._cosine, self._length = model, Cosine(other), _length(own)
        self.closed, self._known = None, model.met_with(_Network(model.network, self._cosine))
        explain = model.settings.explain.model_copy(update={"own_answer": False})
        self.settings = model.settings.model_copy(update={"explain": explain})

    def layer(self, name: str | None = None, output_stride: int | None = None) -> Layer:
        """Return the model's layer, with a head that gives the likeness."""
        made = copy.copy(self._model.layer(name, output_stride))
        head = made.head
        rectifies = isinstance(head, ClassMapHead) and head.rectified
        made.head = likeness_head(head, self._cosine, self._length)
        made.engine = _Engine(made.engine, self._cosine, rectifies=rectifies)
        return made


class Cosine(nn.Module):
    """Features (N, D) -> their cosine (N, 1) with `other` (D,). Its gradient keeps the lengths fixed."""

    direction: Tensor

    def __init__(self, other: Tensor) -> None:
        super().__init__()
        self.register_buffer("direction", other / _length(other))

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, 1)."""
        return (features @ self.direction)[:, None] / _length(features).detach()


def likeness_head(head: Head, cosine: Cosine, length: Tensor) -> Head:
    """Return a head that gives the likeness instead of the features. length: (1,), of the explained features.

    The head is linear if the features are linear in the mean of the activations, or are that mean. For a class map that
    is rectified before the mean, the activations are the rectified ones.
    """
    module = _Then(head.module, cosine)
    if isinstance(head, LinearHead):
        share = cosine.direction[None] / length
        return LinearHead(module, share @ head.weight, share @ head.bias)
    if isinstance(head, ClassMapHead):
        share = cosine.direction[None] / length
        return LinearHead(module, share, share.new_zeros(1))
    return PooledHead(module) if isinstance(head, PooledHead) else Head(module)


class _Then(nn.Module):
    """A network, followed by a module that changes its answer."""

    def __init__(self, network: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, *given: Any) -> Tensor:
        answer: Tensor = self.after(self.network(*given))
        return answer


class _Network:
    """A Network whose answer is the likeness."""

    def __init__(self, network: Any, cosine: Cosine) -> None:
        self._network, self._cosine = network, cosine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    @property
    def whole(self) -> nn.Module:
        """images (N, c, H, W) -> likeness (N, 1)."""
        return _Then(self._network.whole, self._cosine)


class _Engine:
    """An Engine whose answer is the likeness."""

    def __init__(self, engine: Any, cosine: Cosine, *, rectifies: bool) -> None:
        self._engine, self._cosine, self._rectifies = engine, cosine, rectifies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __call__(self, images: Tensor) -> tuple[Tensor, Carried, Tensor]:
        activations, carried, features = self._engine(images)
        return activations.clamp(min=0) if self._rectifies else activations, carried, self._cosine(features)


def _length(features: Tensor) -> Tensor:
    """Return the length (1,) or (N, 1) of features (D,) or (N, D); for zeros, the smallest safe divisor."""
    length: Tensor = features.norm(dim=-1, keepdim=True)
    return length.clamp(min=torch.finfo(features.dtype).tiny)
