"""Networks that end in a softmax or a sigmoid, or scale features to length 1: find the values before that step.

A class map is exact for logits, and a probability of 1 has no gradient. So camserve explains the input of the network's
last function. It is recorded when torch calls the function; the network's answer does not change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camserve.graph.original.logits import Part, has_unit_rows

_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax)
_LOG_SOFTMAX = (torch.log_softmax, F.log_softmax, Tensor.log_softmax, torch.special.log_softmax)
_SIGMOID = (torch.sigmoid, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, torch.sigmoid_, torch.special.expit)
_SCALING = (F.normalize, torch.div, torch.true_divide, Tensor.div, Tensor.div_, Tensor.true_divide)
_FUNCTIONS = {"softmax": _SOFTMAX, "log-softmax": _LOG_SOFTMAX, "sigmoid": _SIGMOID, "unit": _SCALING}
_CLOSE = 1e-4


@dataclass(frozen=True)
class Kind:
    """What a network makes of its logits.

    name: "logits" (nothing), "softmax", "log-softmax" or "sigmoid"; "perhaps" if the answers look like probabilities
    but the step that makes them is not found; "unit" for features that are scaled to length 1. readable: whether the
    values before that step can be read.
    """

    name: str = "logits"
    readable: bool = True

    @property
    def scores(self) -> str | None:
        """The kind of the network's own scores, "softmax" or "sigmoid"; None if it is not known."""
        return {"softmax": "softmax", "log-softmax": "softmax", "sigmoid": "sigmoid"}.get(self.name)


def kind_of(call: Callable[[], Any], part: Part, answer: Tensor | None = None) -> Kind:
    """The kind of a call's answer. Probabilities are recognised by their values and by the function that made them.

    answer: the answer (N, C), if the call was made already.
    """
    if answer is not None and _name_of(answer.float()) == "logits":
        return Kind()
    caught = _Caught()
    with torch.no_grad(), caught:
        answer = part.of(call()).float()
    name = _name_of(answer)
    if name == "logits":
        return Kind()
    found = caught.before(answer, name)
    if found is None and name in ("sigmoid", "shares"):  # the range 0..1 or the sum 100 alone proves nothing
        return Kind("perhaps")
    return Kind(name, found is not None)


def kind_of_features(call: Callable[[], Any], part: Part, answer: Tensor) -> Kind:
    """The kind of features (N, D), the answer of a call: "logits" (unchanged), or "unit" (scaled to length 1)."""
    if not has_unit_rows(answer):
        return Kind()
    caught = _Caught()
    with torch.no_grad(), caught:
        answer = part.of(call()).float()
    return Kind("unit", caught.before(answer, "unit") is not None)


def undone(call: Callable[[], Any], part: Part, kind: Kind) -> Tensor:
    """The logits (N, C) of a call."""
    if kind.name in ("logits", "perhaps"):
        return part.of(call())
    if not kind.readable:
        answer = part.of(call())
        return (
            answer if kind.name in ("log-softmax", "unit") else answer.clamp(min=torch.finfo(answer.dtype).tiny).log()
        )
    caught = _Caught()
    with caught:
        answer = part.of(call())
    logits = caught.before(answer, kind.name)
    return part.of(call()) if logits is None else logits


def _name_of(answer: Tensor) -> str:
    alike = len(answer) > 1 and torch.equal(answer, answer[:1].expand_as(answer))  # equal rows prove nothing
    if answer.ndim != 2 or alike or not answer.isfinite().all():
        return "logits"
    ones = answer.new_ones(len(answer))
    if answer.shape[1] > 1 and bool((answer <= _CLOSE).all()) and torch.allclose(answer.exp().sum(1), ones, atol=1e-3):
        return "log-softmax"
    if bool((answer < 0).any()):
        return "logits"
    total = answer.sum(1)
    if bool((answer > 1).any()):
        return "shares" if answer.shape[1] > 1 and torch.allclose(total, 100 * ones, atol=0.05) else "logits"
    return "softmax" if answer.shape[1] > 1 and torch.allclose(answer.sum(1), ones, atol=1e-3) else "sigmoid"


class _Caught(TorchFunctionMode):
    """While active, records the inputs and results of these functions in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = next((name for name, functions in _FUNCTIONS.items() if func in functions), None)
        given = args[0] if args else (kwargs or {}).get("input")
        if name is None or not isinstance(given, Tensor) or given.ndim != 2:
            return func(*args, **(kwargs or {}))
        kept = given.clone() if getattr(func, "__name__", "").endswith("_") or (kwargs or {}).get("inplace") else given
        result = func(*args, **(kwargs or {}))
        self.calls.append((name, kept, result))
        return result

    def before(self, answer: Tensor, name: str) -> Tensor | None:
        """The input of the last recorded function whose result is `answer`; None if there is no such function."""
        for kind, given, result in reversed(self.calls):
            if kind == name and given.shape == answer.shape:
                with torch.no_grad():
                    if torch.allclose(result.float(), answer.float(), rtol=0, atol=1e-6, equal_nan=True):
                        return given
        return None


_MODULES = {"softmax": nn.Softmax, "log-softmax": nn.LogSoftmax, "sigmoid": nn.Sigmoid}
_NAMES = {"log-softmax": {"log_softmax"}, "unit": {"normalize", "truediv", "div", "true_divide"}}


def without_probabilities(graph: fx.GraphModule, kind: Kind) -> fx.GraphModule | None:
    """`graph` with the logits as its answer; None if its last step is not the function that makes probabilities."""
    if kind.name in ("logits", "perhaps"):
        return graph
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    last = output.args[0]
    if not kind.readable or not isinstance(last, fx.Node) or not last.all_input_nodes:
        return None
    called = graph.get_submodule(str(last.target)) if last.op == "call_module" else last.target
    names, modules = _NAMES.get(kind.name, {kind.name}), _MODULES.get(kind.name, ())
    if not isinstance(called, modules) and called not in names and getattr(called, "__name__", "") not in names:
        return None
    output.args = (last.all_input_nodes[0],)
    return graph
