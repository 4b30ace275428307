"""The parts of an answer, and which part is explained.

Networks answer with tensors, tuples, dicts and objects, and some have several heads. If several parts could be the
logits, the user must choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from camserve.errors import ModelError, OptionError, UnknownName, close_names, shown
from camserve.graph.original.logits import Key, Part

# A field with one of these names holds the logits; the first name that is found counts.
_NAMES = ("logits", "out", "output", "prediction", "predictions", "pred", "preds", "scores")
# A name with such a word says that the numbers are classes, or that they are not.
_CLASSES = ("logit", "head", "class")
_FEATURES = ("embed", "feature", "pool", "hidden", "latent", "represent", "token")
# Levels of nested containers that are searched.
_DEEPEST = 3
# Most digits of an index; no answer has so many parts that an index needs more.
_DIGITS = 6
TENSOR = "a tensor"


@dataclass(frozen=True)
class AnswerParts:
    """The parts (N, C) of an answer, in order.

    kind: the type of the answer, in words. parts: by the names that users write, such as "heads.colour" or "1" (in a
    tuple); the part for probabilities is the part of their logits. classes: C of each part. places: the names of a
    tuple's or a list's members, () for other answers. others: all tensors of the answer, in words.
    """

    kind: str
    parts: Mapping[str, Part]
    classes: Mapping[str, int]
    places: tuple[str, ...] = ()
    others: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all parts that can be explained; probabilities and their logits count as one part."""
        return tuple(name for name, part in self.parts.items() if part.name == name)

    def named(self, output: str | int) -> Part:
        """The part for a name, the end of a name or an index. Raises UnknownName, OptionError."""
        if not self.outputs:
            raise OptionError(
                f"output {shown(output)}: the network answers with {self.kind}, so there are no parts to choose from; "
                "leave output out, and give labels as one list"
            )
        name = self._name(output)
        if name is None:
            close = close_names(output, self.outputs, likeness=0.6)
            raise UnknownName("output", output, map(self._with_shape, self.outputs), close=close)
        return self.parts[name]

    def _name(self, output: str | int) -> str | None:
        if isinstance(output, str) and output in self.parts:
            return output
        if isinstance(output, int) or (output.isdecimal() and len(output) <= _DIGITS):
            places: Sequence[str] = self.places or self.outputs
            name = places[int(output)] if -len(places) <= int(output) < len(places) else None
            return name if name in self.parts else None
        ends = [name for name in self.outputs if name.endswith(f".{output}")]
        return ends[0] if len(ends) == 1 else None

    def choose(self, labels: int | None, output: str | int | None = None, *, as_features: bool = False) -> Part:
        """The part that is explained.

        labels: how many classes have names, None: not known. output: the user's choice. Without a choice, parts with as
        many classes as labels come first, then parts whose names say that they are logits (with as_features: features).
        Raises ModelError if there is no part (N, C) or it is not clear which one to take, and the errors of `named`.
        """
        if output is not None:
            return self.named(output)
        if self.kind == TENSOR:
            return Part()
        features = [name for name in self.outputs if _is_features(name)]
        if as_features and len(features or self.outputs) == 1:
            return self.parts[(features or self.outputs)[0]]
        return self._with_logits(labels, as_features=as_features)

    def _with_logits(self, labels: int | None, *, as_features: bool) -> Part:
        if not self.outputs:
            held = self.others or "no tensor"
            raise ModelError(f"the network answers with {self.kind}, which holds no logits (N, C): {held}")
        fitting = [name for name in self.outputs if self.classes[name] == labels]
        left = fitting or list(self.outputs)
        left = [name for name in left if not _is_features(name)] or left
        usual = [name for name in _NAMES if name in left][:1]
        by_word = ([name for name in left if word in _last(name)] for word in _CLASSES)
        found = next((names for names in (usual, left, *by_word) if len(names) == 1), None)
        if found is None or as_features:
            raise ModelError(self._several(labels, fitting))
        if _is_features(found[0]) and not fitting:
            raise ModelError(
                f"the network answers with {self._with_shape(found[0])}: features, not classes. Load it "
                "with scores='embedding' to see why two photographs look similar to it; put a classifier after it "
                "(nn.Sequential of a module that takes the features out, and nn.Linear); or load it with its classifier"
            )
        return self.parts[found[0]]

    def _several(self, labels: int | None, fitting: list[str]) -> str:
        held = ", ".join(map(self._with_shape, self.outputs))
        unfit = "" if labels is None or fitting else f" (there are {labels} labels, and no tensor has as many classes)"
        last = self.outputs[-1] if self.outputs[-1].isdecimal() else f'"{self.outputs[-1]}"'
        return (
            f"the network answers with {self.kind}, in which several tensors could be the logits: {held}{unfit}. "
            f"Choose one with output= (also in a card), as in output={last}, or give as many labels as it has classes"
        )

    def _with_shape(self, name: str) -> str:
        return f"{name} (N, {self.classes[name]})"


def parts_of_answer(answer: Any, images: int) -> AnswerParts:
    """The parts of a network's answer to `images` images."""
    if isinstance(answer, Tensor):
        return AnswerParts(TENSOR, {}, {})
    members = _members(answer)
    held = {Part(way): value for way, value in members if value.ndim == 2 and len(value) == images}
    held = {part: value for part, value in held.items() if value.is_floating_point()} or held
    own = {part: value for part, value in held.items() if not any(_made_of(value, other) for other in held.values())}
    return AnswerParts(
        type(answer).__name__,
        {part.name: _explained(part, held, own) for part in held},
        {part.name: value.shape[1] for part, value in held.items()},
        tuple(str(key) for key, _ in _pairs(answer)) if isinstance(answer, tuple | list) else (),
        ", ".join(f"{Part(way).name} {_shape(value)}" for way, value in members),
    )


def maps_in(answer: Any, images: int) -> tuple[Part, tuple[int, int]] | None:
    """The maps (N, C, h, w) in an answer to `images` images, and (h, w). None if several could be meant, or none exist.

    Maps with a name that logits have come first, then the only maps.
    """
    found = {Part(way): value for way, value in _members(answer) if value.ndim == 4 and len(value) == images}
    named = [part for name in _NAMES for part in found if _last(part.name) == name]
    chosen = named[0] if named else next(iter(found)) if len(found) == 1 else None
    return None if chosen is None else (chosen, (found[chosen].shape[2], found[chosen].shape[3]))


def _explained(part: Part, held: Mapping[Part, Tensor], own: Mapping[Part, Tensor]) -> Part:
    """The part to explain for a part: itself, the logits that it was made from, or an earlier name of the same tensor.

    own: the parts of `held` that were not made from another part.
    """
    value = held[part]
    if part not in own:
        return next((Part(other.way, kind) for other, one in own.items() if (kind := _made_of(value, one))), part)
    first = next(other for other, one in own.items() if one is value)
    return Part(first.way, next((kind for one in held.values() if (kind := _made_of(one, value))), None))


def _is_features(name: str) -> bool:
    """Whether a name says that the part holds features, not classes."""
    return any(word in name.lower() for word in _FEATURES) and "logit" not in name.lower()


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _members(answer: Any, way: tuple[Key, ...] = ()) -> list[tuple[tuple[Key, ...], Tensor]]:
    """Every tensor in an answer, with the path to it."""
    if isinstance(answer, Tensor):
        return [(way, answer)]
    if len(way) == _DEEPEST:
        return []
    return [found for key, value in _pairs(answer) for found in _members(value, (*way, key))]


def _pairs(answer: Any) -> list[tuple[Key, Any]]:
    """The members of one level, each with its key, field name or index."""
    if isinstance(answer, Mapping):
        return list(answer.items())
    if isinstance(answer, tuple | list):
        names = getattr(answer, "_fields", None)
        return list(zip(names, answer, strict=True)) if names else list(enumerate(answer))
    if is_dataclass(answer):  # a dataclass may have slots instead of a dict
        return [(one.name, getattr(answer, one.name)) for one in fields(answer)]
    return list(getattr(answer, "__dict__", {}).items())


def _made_of(one: Tensor, other: Tensor) -> str | None:
    """The function that makes the probabilities `one` from the logits `other`: "softmax", "sigmoid" or None."""
    if one is other or one.shape != other.shape or not (one.is_floating_point() and other.is_floating_point()):
        return None
    if torch.allclose(one, other, atol=1e-6):  # the log-softmax of a log-softmax
        return None
    made = {"softmax": (torch.softmax(other, 1), torch.log_softmax(other, 1)), "sigmoid": (torch.sigmoid(other),)}
    found = (name for name, values in made.items() if any(torch.allclose(one, value, atol=1e-5) for value in values))
    return next(found, None)


def _shape(value: Tensor) -> str:
    return f"({', '.join(map(str, ('N', *value.shape[1:])))})"
