"""What a network computes on one image, tensor by tensor, and how the answer's gradient goes back through it.

Plain PyTorch on the network as its user has it: a mode sees what every function of torch gives, hooks see what modules
give, and autograd's own graph says which tensors everything goes through. Nothing here is camserve's.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Node = Any  # torch.autograd.graph.Node


@dataclass
class Value:
    """A tensor at one moment. node, output: where its gradient is found. version: changes where it is written into.

    names: the modules that gave it. kept: a copy, of those modules' outputs that were asked for.
    """

    tensor: Tensor
    node: Node
    output: int
    version: int
    names: list[str] = field(default_factory=list)
    kept: Tensor | None = None

    @property
    def intact(self) -> bool:
        """Whether it still holds what it held then."""
        return self.kept is not None or self.tensor._version == self.version

    @property
    def content(self) -> Tensor:
        """What it held."""
        return (self.tensor if self.kept is None else self.kept).detach()


class Recording:
    """One forward pass with everything kept. image: (1, 3, H, W). values: in the order in which they were made.

    by_name: {module's path: what it gave last}. keep: of which modules outputs are copied.
    """

    def __init__(self, network: nn.Module, image: Tensor, keep: str = "") -> None:
        self.image = image.clone().requires_grad_()
        self.values: list[Value] = []
        self.by_name: dict[str, Value] = {}
        self._known: dict[tuple[int, int], Value] = {}
        self._keep = keep
        handles = [part.register_forward_hook(self._named(name)) for name, part in network.named_modules() if name]
        try:
            with torch.enable_grad(), _Watching(self._add):
                self.logits = logits_in(network(self.image))
        finally:
            for handle in handles:
                handle.remove()
        self.order = relevant_order(self.logits.grad_fn, self.image)
        self._cuts = full_cuts(self.logits.grad_fn, self.order)
        make_steady(self.order)

    def _add(self, tensor: Tensor) -> Value | None:
        if tensor.grad_fn is None:
            return None
        key = id(tensor), id(tensor.grad_fn)
        if key not in self._known:
            self._known[key] = Value(tensor, tensor.grad_fn, tensor.output_nr, tensor._version)
            self.values.append(self._known[key])
        return self._known[key]

    def _named(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in tensors_in(output):
                value = self._add(tensor)
                if value is not None:
                    value.names.append(name)
                    self.by_name[name] = value
                    value.kept = tensor.detach().clone() if name == self._keep else value.kept
                    return

        return hook

    def matters(self, value: Value) -> bool:
        """Whether a path from the image to the logits goes through it."""
        return value.node in self.order

    def is_cut(self, value: Value) -> bool:
        """Whether every path from the image to the logits goes through it."""
        return self._cuts.get(value.node) == {value.output}

    def gradients(
        self, score: Tensor, values: list[Value], without: Value | None = None
    ) -> tuple[list[Tensor | None], Tensor | None]:
        """d score / d each of `values`, and d score / d image; as if `without` were a constant, where it is given."""
        found: dict[tuple[Node, int], Tensor] = {}
        wanted: dict[Node, set[int]] = {}
        for value in values:
            wanted.setdefault(value.node, set()).add(value.output)
        blocked = {} if without is None else {without.node: {without.output}}
        with hooked(found, wanted, blocked):
            (of_image,) = torch.autograd.grad(score, self.image, retain_graph=True, allow_unused=True)
        return [found.get((value.node, value.output)) for value in values], of_image


@contextmanager
def hooked(
    found: dict[tuple[Node, int], Tensor], wanted: Mapping[Node, set[int]], blocked: Mapping[Node, set[int]]
) -> Iterator[None]:
    """While inside, a backward pass puts gradients that are wanted into `found`, and stops at what is blocked."""

    def watch(node: Node) -> Any:
        def before(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
            for output in wanted.get(node, ()):
                gradient = gradients[output] if output < len(gradients) else None
                if gradient is not None:
                    found[node, output] = gradient.detach().clone()
            stopped = blocked.get(node)
            if stopped is None:
                return None
            return tuple(
                torch.zeros_like(one) if place in stopped and one is not None else one
                for place, one in enumerate(gradients)
            )

        return node.register_prehook(before)

    handles = [watch(node) for node in {*wanted, *blocked}]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Watching(TorchFunctionMode):
    """Tells `see` of every tensor that a function of torch gives."""

    def __init__(self, see: Callable[[Tensor], object]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tensors_in(output):
            self._see(tensor)
        return output


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors of what a module or function gives, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from tensors_in(part)
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_in(part)


def logits_in(answer: Any) -> Tensor:
    """What a user of the network takes for its logits, (N, C)."""
    if isinstance(answer, Tensor):
        return answer
    for name in ("logits", "last_hidden_state"):  # the latter is what PP-LCNet of transformers calls them
        found = getattr(answer, name, None)
        if isinstance(found, Tensor) and found.ndim == 2:
            return found
    return next(tensors_in(answer))


def make_steady(nodes: Mapping[Node, int]) -> None:
    """Gives batch norms gradients that lie in memory in order.

    torch 2.14.1 misreads others on a CPU where the batch is of one image: the gradient of tokens that were made of a
    map by flatten(2).transpose(1, 2) comes out of a batch norm before them wrong, without a word.
    """
    for node in nodes:
        if "BatchNorm" in node.name():
            node.register_prehook(lambda given: tuple(None if one is None else one.contiguous() for one in given))


def relevant_order(root: Node, image: Tensor) -> dict[Node, int]:
    """{node: its place} of all nodes between the logits and the image, the logits' first; edges go forward only."""
    finished: dict[Node, bool] = {}
    order: list[Node] = []
    waiting: list[tuple[Node, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            below = [after for after, _ in node.next_functions if after is not None]
            finished[node] = getattr(node, "variable", None) is image or any(finished.get(one) for one in below)
            order += [node] if finished[node] else []
        elif node not in finished:
            finished[node] = False
            waiting.append((node, True))
            waiting += [(after, False) for after, _ in node.next_functions if after is not None]
    return {node: place for place, node in enumerate(reversed(order))}


def full_cuts(root: Node, order: Mapping[Node, int]) -> dict[Node, set[int]]:
    """Nodes that no path from the logits to the image goes around, and which of their outputs those paths use."""
    used: dict[Node, set[int]] = {root: {0}}
    reach, cuts = 0, {}
    for node, place in order.items():
        if reach <= place:
            cuts[node] = used.get(node, {0})
        for after, output in node.next_functions:
            if after in order:
                reach = max(reach, order[after])
                used.setdefault(after, set()).add(output)
    return cuts
