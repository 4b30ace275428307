"""Networks answer with logits (N, C), or with something that holds them: a tuple, a dict, an object."""

from typing import Any

from torch import Tensor, fx

from camserve.errors import ModelError

_NAMES = ("logits", "out", "output", "prediction", "predictions", "pred", "preds", "scores")


def logits_in(answer: Any) -> Tensor:
    """The logits in what a network answered: the tensor itself, a member of one of the usual names, or the first.

    Raises ModelError where there is no tensor.
    """
    if isinstance(answer, Tensor):
        return answer
    members = answer if isinstance(answer, dict) else getattr(answer, "__dict__", {})
    named = [members[name] for name in _NAMES if isinstance(members.get(name), Tensor)]
    several = list(answer) if isinstance(answer, tuple | list) else list(members.values())
    found: list[Tensor] = named + [one for one in several if isinstance(one, Tensor) and one.ndim == 2]
    if not found:
        raise ModelError(f"the network answers with {type(answer).__name__}, in which there are no logits (N, C)")
    return found[0]


def answer_with_logits(graph: fx.GraphModule) -> fx.GraphModule:
    """`graph` with the logits alone as its answer, where the answer is a tuple, list, dict or object of the graph's."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    chosen = _chosen(output.args[0])
    if chosen is not output.args[0]:
        output.args = (chosen,)
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return graph


def _chosen(answer: Any) -> Any:
    if isinstance(answer, fx.Node) and answer.op == "call_function" and isinstance(answer.target, type):
        answer = dict(answer.kwargs) or answer.args  # the constructor of a dataclass
    if isinstance(answer, dict):
        return next((answer[name] for name in _NAMES if answer.get(name) is not None), next(iter(answer.values())))
    return answer[0] if isinstance(answer, tuple | list) else answer
