"""Networks answer with logits (N, C), or with something that holds them: a tuple, a dict, an object.

Where in it they are is found out once; where several tensors could be the logits, none is taken for them unasked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from camserve.errors import ModelError

_NAMES = ("logits", "out", "output", "prediction", "predictions", "pred", "preds", "scores")
_FEATURES = ("embed", "feature", "pool")
Key = str | int


@dataclass(frozen=True)
class Part:
    """The way to the logits in an answer: names of members and numbers of places; () where the answer is they.

    scores: "softmax" or "sigmoid", where the answer holds these of the logits as well.
    """

    way: tuple[Key, ...] = ()
    scores: str | None = None

    def of(self, answer: Any) -> Tensor:
        """The logits in an answer."""
        for key in self.way:
            indexed = isinstance(key, int) or isinstance(answer, Mapping)
            answer = answer[key] if indexed else getattr(answer, str(key))
        if not isinstance(answer, Tensor):
            raise ModelError(f"the network answers with {type(answer).__name__} where it gave logits before")
        return answer

    def in_graph(self, answer: Any) -> Any:
        """The same in what a graph gives: a node, or tuples, dicts and constructors of nodes. None: hidden."""
        for key in self.way:
            if isinstance(answer, fx.Node) and answer.op == "call_function" and isinstance(answer.target, type):
                answer = dict(answer.kwargs) or answer.args  # the constructor of a dataclass
            try:
                answer = answer[key]
            except (KeyError, IndexError, TypeError):
                return None
        return answer


def part_with_logits(answer: Any, labels: int | None, images: int) -> Part:
    """Where the logits are in what a network answered to so many images. labels: how many classes have names.

    A member of one of the usual names, else the only tensor (N, C), or the only one of as many classes as labels; of
    probabilities and their own logits, the logits. Raises ModelError where there is none, and where it is not certain.
    """
    if isinstance(answer, Tensor):
        return Part()
    tensors = {way: value for way, value in _members(answer) if value.ndim == 2 and len(value) == images}
    if not tensors:
        held = ", ".join(f"{_said(way)} {tuple(value.shape)}" for way, value in _members(answer)) or "no tensor"
        raise ModelError(
            f"the network answers with {type(answer).__name__}, in which there are no logits (N, C): {held}"
        )
    for name in _NAMES:
        if (name,) in tensors:
            made = next((kind for one in tensors.values() if (kind := _made_of(one, tensors[name,]))), None)
            if not any(_made_of(tensors[name,], other) for other in tensors.values()):
                return Part((name,), made)
    made = next((kind for a in tensors.values() for b in tensors.values() if (kind := _made_of(a, b))), None)
    tensors = {way: one for way, one in tensors.items() if not any(_made_of(one, other) for other in tensors.values())}
    named = [way for way in tensors if "logit" in str(way[-1])]
    fitting = [way for way, value in tensors.items() if value.shape[1] == labels]
    for found in (list(tensors), named, fitting):
        if len(found) == 1:
            return _no_embedding(Part(found[0], made), tensors[found[0]])
    several = ", ".join(f"{_said(way)} {tuple(value.shape)}" for way, value in tensors.items())
    raise ModelError(
        f"the network answers with {type(answer).__name__}, in which several tensors could be the logits: {several}. "
        "Give labels, whose number tells which, or wrap the network in a module that answers with one of them"
    )


def _no_embedding(part: Part, value: Tensor) -> Part:
    name = str(part.way[-1]).lower()
    if any(word in name for word in _FEATURES) and "logit" not in name:
        raise ModelError(
            f"the network answers with {_said(part.way)} {tuple(value.shape)}: features, not classes. Put a classifier "
            "behind it (nn.Sequential of a module that takes the features out, and nn.Linear), or load the one it has"
        )
    return part


def _members(answer: Any, way: tuple[Key, ...] = ()) -> list[tuple[tuple[Key, ...], Tensor]]:
    """Every tensor in an answer, and the way to it, two levels deep."""
    if isinstance(answer, Tensor):
        return [(way, answer)]
    if len(way) == 2:
        return []
    if isinstance(answer, Mapping):
        pairs: list[tuple[Key, Any]] = list(answer.items())
    elif isinstance(answer, tuple | list):
        fields = getattr(answer, "_fields", None)
        pairs = list(zip(fields, answer, strict=True)) if fields else list(enumerate(answer))
    else:
        pairs = list(getattr(answer, "__dict__", {}).items())
    return [found for key, value in pairs for found in _members(value, (*way, key))]


def _made_of(one: Tensor, other: Tensor) -> str | None:
    """Which function of the logits `other` gives the probabilities `one`: "softmax", "sigmoid" or none."""
    if one is other or one.shape != other.shape or not (one.is_floating_point() and other.is_floating_point()):
        return None
    if torch.allclose(one, other, atol=1e-6):  # the log-softmax of a log-softmax
        return None
    made = {"softmax": (torch.softmax(other, 1), torch.log_softmax(other, 1)), "sigmoid": (torch.sigmoid(other),)}
    found = (name for name, values in made.items() if any(torch.allclose(one, value, atol=1e-5) for value in values))
    return next(found, None)


def _said(way: tuple[Key, ...]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in way) or "itself"


def with_batch(answer: Tensor, images: Tensor) -> Tensor:
    """The answer to one image, (1, C), where a network gives (C,)."""
    return answer[None] if answer.ndim == 1 and len(images) == 1 else answer


def is_embedding(answer: Tensor) -> bool:
    """Whether every row has length 1, which no logits have."""
    if answer.ndim != 2 or answer.shape[1] < 2 or bool((answer >= 0).all()):
        return False
    lengths = answer.float().norm(dim=1)
    return torch.allclose(lengths, torch.ones_like(lengths), atol=1e-4)


def answer_with_logits(graph: fx.GraphModule, part: Part) -> fx.GraphModule | None:
    """`graph` with the logits alone as its answer; None where its answer does not show them."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    chosen = part.in_graph(output.args[0])
    if not isinstance(chosen, fx.Node):
        return None
    output.args = (chosen,)
    return graph
