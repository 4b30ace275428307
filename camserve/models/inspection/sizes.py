"""Which input sizes a network takes: tries some, and says in words why a size fails."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.graph.cut import Cut
from camserve.models.inspection.operation import Operation, Shape

# Most pixels of the larger inputs to try, so that a network of 1000 pixels does not need gigabytes.
_MOST_PIXELS = 1 << 20


@dataclass(frozen=True)
class Trial:
    """One input size, (w, h) pixels, and the reason why the network does not take it; "" if it does."""

    size: tuple[int, int]
    reason: str = ""


@dataclass(frozen=True)
class InputSizes:
    """The tried sizes. smallest: side of the smallest square that works, None if larger sizes fail, too.

    below: the reason why a square of one pixel less does not work.
    """

    trials: tuple[Trial, ...]
    smallest: int | None = None
    below: str = ""

    @property
    def any_size(self) -> bool:
        """Whether every tried size that is not smaller than `smallest` works."""
        return self.smallest is not None

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        tried = [{"size": list(trial.size), "reason": trial.reason or None} for trial in self.trials]
        return {"any": self.any_size, "smallest": self.smallest, "below": self.below or None, "tried": tried}


def try_sizes(cut: Cut, trained: tuple[int, int], channels: int = 3) -> InputSizes:
    """Run both halves of a network at its own size and at a few others: half and odd, one more, wide, larger.

    trained: (w, h) of the training input, pixels. Each size is one forward pass of an empty image; together they cost
    about as much as four images of that size. Then bisection finds the smallest square; it costs about one more.
    """

    def reason(size: tuple[int, int]) -> str:
        return _reason(cut, torch.zeros(1, channels, size[1], size[0]))

    trials = tuple(Trial(size, reason(size)) for size in _sizes(*trained))
    if any(trial.reason for trial in trials if trial.size[0] >= trained[0] and trial.size[1] >= trained[1]):
        return InputSizes(trials)
    smallest, below = _smallest(reason, min(min(trial.size) for trial in trials if not trial.reason))
    holds = all(not trial.reason for trial in trials if min(trial.size) >= smallest)
    return InputSizes(trials, smallest, below) if holds else InputSizes(trials)


def _sizes(width: int, height: int) -> list[tuple[int, int]]:
    """The training size; smaller and odd; one pixel more, so no multiple of anything; other proportions; larger."""
    half, larger = (width // 2 | 1, height // 2 | 1), (width * 9 // 7, height * 9 // 7)
    others = [half, (width + 1, height + 1), (width * 3 // 2, half[1]), larger]
    return [(width, height), *(size for size in others if size[0] * size[1] <= _MOST_PIXELS)]


def _smallest(reason_at: Callable[[tuple[int, int]], str], works: int) -> tuple[int, str]:
    """The smallest side that works, if every larger side does, and the reason why the next smaller one fails."""
    fails, reason = 0, ""
    while works - fails > 1:
        side = (works + fails) // 2
        found = reason_at((side, side))
        works, fails, reason = (works, side, found) if found else (side, fails, reason)
    return works, reason


def _reason(cut: Cut, image: Tensor) -> str:
    """The reason why the network fails on such an image; "" if it does not."""
    values: tuple[Any, ...] = (image,)
    with torch.no_grad():
        for half in (cut.body, cut.head):
            attempt = _Attempt(half) if isinstance(half, fx.GraphModule) else None
            try:
                result = attempt.run(*values) if attempt else half(*values)
            except Exception as error:  # any error of a layer at a size it does not take
                return attempt.in_words(error) if attempt else f"the network says '{_first_line(error)}'"
            values = (result[0], *result[1]) if half is cut.body else values
    return ""


class _Attempt(fx.Interpreter):
    """Runs a graph and remembers the node where it stopped."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self._shapes: dict[str, Shape] = {}
        self._at: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        self._at = n
        result = super().run_node(n)
        self._shapes[n.name] = tuple(result.shape) if isinstance(result, Tensor) else ()
        return result

    def in_words(self, error: Exception) -> str:
        """The reason why the network stopped, with the layer's name."""
        assert self._at is not None
        layer = self.fetch_attr(str(self._at.target)) if self._at.op == "call_module" else None
        operation = Operation(self._at, layer, self._shapes)
        known = _expected_features(operation) or _too_small(operation, str(error)) or _no_fold(operation)
        return known or self._own_words(operation, _first_line(error))

    def _own_words(self, operation: Operation, message: str) -> str:
        """The message of the network or torch; with a parameter of fixed size, such as a position embedding."""
        if operation.name == "_assert":
            return f"the network itself says '{message}'{self._because()}"
        for other in operation.node.all_input_nodes:
            if other.op == "get_attr" and isinstance(self.fetch_attr(str(other.target)), nn.Parameter):
                shape = "x".join(map(str, self._shapes[other.name]))
                return f"the parameter '{other.target}' has a fixed size, {shape}: {message}"
        return f"'{operation.path}' says '{message}'"

    def _because(self) -> str:
        """Why a network may require one size: a parameter with one value per place, such as a position embedding."""
        for node in self.graph.nodes:
            value = self.fetch_attr(str(node.target)) if node.op == "get_attr" else None
            if isinstance(value, nn.Parameter) and value.ndim > 2 and "pos" in str(node.target):
                return f"; its position embedding '{node.target}' has a fixed size, {'x'.join(map(str, value.shape))}"
        return ""


def _first_line(error: Exception) -> str:
    """The message. A traced network formats it before there is an image, so the actual size is not in it."""
    line = re.sub(r"[ ,]*(but )?got Proxy\(.*", "", str(error).strip().split("\n")[0]).rstrip(".")
    return re.sub(r" ?\(?Proxy\(\w+\)\)?", "", line)


def _expected_features(operation: Operation) -> str:
    layer, given = operation.layer, operation.shape()
    if not isinstance(layer, nn.Linear) or not given or given[-1] == layer.in_features:
        return ""
    return f"the linear layer '{operation.path}' takes {layer.in_features} features, but gets {given[-1]}"


def _too_small(operation: Operation, message: str) -> str:
    given = operation.shape()
    if len(given) != 4 or not re.search("[Kk]ernel size|too small", message):
        return ""
    return f"the {given[-1]} x {given[-2]} cells that '{operation.path}' gets are too few"


def _no_fold(operation: Operation) -> str:
    if operation.name not in ("view", "reshape") or len(operation.shape()) != 4:
        return ""
    height, width = operation.shape()[-2:]
    return f"'{operation.path}' divides the map into parts of a fixed size; {width} x {height} cells do not fit"
