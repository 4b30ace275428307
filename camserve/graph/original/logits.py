"""Networks answer with logits (N, C), or with something that holds them: a tuple, a dict, an object.

Where in it they are is found out once, by `camserve.graph.original.answer_parts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from camserve.errors import ModelError

Key = str | int


@dataclass(frozen=True)
class Part:
    """The way to the logits in an answer: names of members and numbers of places; () where the answer is they.

    scores: "softmax" or "sigmoid", where the answer holds these of the logits as well.
    """

    way: tuple[Key, ...] = ()
    scores: str | None = None

    @property
    def name(self) -> str:
        """As users write it: "colour", "heads.colour", "1"; "" where the answer is the logits."""
        return ".".join(map(str, self.way))

    def of(self, answer: Any) -> Tensor:
        """The logits in an answer."""
        answer = self.taken(answer)
        if not isinstance(answer, Tensor):
            raise ModelError(f"the network answers with {type(answer).__name__} where it gave logits before")
        return answer

    def taken(self, answer: Any) -> Any:
        """What lies at the end of the way."""
        for key in self.way:
            indexed = isinstance(key, int) or isinstance(answer, Mapping)
            answer = answer[key] if indexed else getattr(answer, str(key))
        return answer

    def in_graph(self, answer: Any) -> Any:
        """The same in what a graph gives: a node, or tuples, dicts and constructors of nodes. None: hidden."""
        for key in self.way:
            if isinstance(answer, fx.Node) and answer.op == "call_function" and isinstance(answer.target, type):
                names = getattr(answer.target, "_fields", ())  # the constructor of a named tuple, or of a dataclass
                answer = dict(zip(names, answer.args, strict=False)) | answer.kwargs or answer.args
            try:
                answer = answer[key]
            except (KeyError, IndexError, TypeError):
                return None
        return answer


def with_batch(answer: Tensor, images: Tensor) -> Tensor:
    """The answer to one image, (1, C), where a network gives (C,)."""
    return answer[None] if answer.ndim == 1 and len(images) == 1 else answer


def is_embedding(answer: Tensor) -> bool:
    """Whether every row has length 1, which no logits have."""
    return has_unit_rows(answer) and not bool((answer >= 0).all())


def has_unit_rows(answer: Tensor) -> bool:
    """Whether every row has length 1."""
    if answer.ndim != 2 or answer.shape[1] < 2:
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
