"""Where the logits are in a network's answer: it is logits (N, C), or a tuple, a dict or an object that holds them.

`camserve.graph.original.answer_parts` finds out where they are, once.
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
    """The path to the logits in an answer: names and indices; () if the answer itself is the logits.

    scores: "softmax" or "sigmoid", if the answer also holds these probabilities of the logits.
    """

    way: tuple[Key, ...] = ()
    scores: str | None = None

    @property
    def name(self) -> str:
        """The name that users write: "colour", "heads.colour", "1"; "" if the answer is the logits."""
        return ".".join(map(str, self.way))

    def of(self, answer: Any) -> Tensor:
        """The logits in an answer."""
        answer = self.taken(answer)
        if not isinstance(answer, Tensor):
            raise ModelError(
                f"the network answers with {type(answer).__name__} now, but its earlier answer had a tensor of logits "
                "there"
            )
        return answer

    def taken(self, answer: Any) -> Any:
        """The member of an answer at the end of the path."""
        for key in self.way:
            indexed = isinstance(key, int) or isinstance(answer, Mapping)
            answer = answer[key] if indexed else getattr(answer, str(key))
        return answer

    def in_graph(self, answer: Any) -> Any:
        """The same in a graph's answer: a node, or tuples, dicts and constructors of nodes. None if it is hidden."""
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
    """The answer to one image as (1, C), if a network gives (C,)."""
    return answer[None] if answer.ndim == 1 and len(images) == 1 else answer


def is_embedding(answer: Tensor) -> bool:
    """Whether every row has length 1 and a row has negative values, so that the rows are not probabilities."""
    return has_unit_rows(answer) and not bool((answer >= 0).all())


def has_unit_rows(answer: Tensor) -> bool:
    """Whether every row has length 1."""
    if answer.ndim != 2 or answer.shape[1] < 2:
        return False
    lengths = answer.float().norm(dim=1)
    return torch.allclose(lengths, torch.ones_like(lengths), atol=1e-4)


def answer_with_logits(graph: fx.GraphModule, part: Part) -> fx.GraphModule | None:
    """`graph` with only the logits as its answer; None if its answer does not show them."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    chosen = part.in_graph(output.args[0])
    if not isinstance(chosen, fx.Node):
        return None
    output.args = (chosen,)
    return graph
