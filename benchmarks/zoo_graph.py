"""What a network computes for one image, tensor by tensor, and how the gradient goes back through it.

Plain PyTorch on the user's network: a mode records the results of torch functions, hooks record the outputs of modules,
and autograd's graph says which tensors all paths go through. Nothing of camserve is used.
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
    """A tensor at one moment. node, output: where its gradient is found. version: changes if it is written into.

    names: the modules whose output it is. kept: a copy, for requested modules.
    """

    tensor: Tensor
    node: Node
    output: int
    version: int
    names: list[str] = field(default_factory=list)
    kept: Tensor | None = None

    @property
    def intact(self) -> bool:
        """Whether the tensor is unchanged since then."""
        return self.kept is not None or self.tensor._version == self.version

    @property
    def content(self) -> Tensor:
        """The values at that moment."""
        return (self.tensor if self.kept is None else self.kept).detach()


class Recording:
    """One forward pass with all tensors recorded. image: (1, 3, H, W). values: in the order in which they were made.

    by_name: {module's path: its last output}. keep: the modules whose outputs are copied.
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
        """Whether a path from the image to the logits goes through a value."""
        return value.node in self.order

    def is_cut(self, value: Value) -> bool:
        """Whether every path from the image to the logits goes through a value."""
        return self._cuts.get(value.node) == {value.output}

    def gradients(
        self, score: Tensor, values: list[Value], without: Value | None = None
    ) -> tuple[list[Tensor | None], Tensor | None]:
        """Return d score / d each of `values`, and d score / d image. `without`, if given, counts as a constant."""
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
    """Inside the context, a backward pass puts wanted gradients into `found`, and stops at blocked outputs."""

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
    """Calls `see` with every tensor that a torch function returns."""

    def __init__(self, see: Callable[[Tensor], object]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tensors_in(output):
            self._see(tensor)
        return output


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in the result of a module or function, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from tensors_in(part)
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_in(part)


def logits_in(answer: Any) -> Tensor:
    """Return the logits, (N, C), as a user of the network finds them."""
    if isinstance(answer, Tensor):
        return answer
    for name in ("logits", "last_hidden_state"):  # PP-LCNet of transformers uses the latter name
        found = getattr(answer, name, None)
        if isinstance(found, Tensor) and found.ndim == 2:
            return found
    return next(tensors_in(answer))


def make_steady(nodes: Mapping[Node, int]) -> None:
    """Make the gradients of batch norms contiguous in memory.

    torch 2.14.1 misreads other gradients on a CPU with a batch of one image: if tokens come from a map by
    flatten(2).transpose(1, 2), the gradient of a batch norm before them is wrong, without a warning.
    """
    for node in nodes:
        if "BatchNorm" in node.name():
            node.register_prehook(lambda given: tuple(None if one is None else one.contiguous() for one in given))


def relevant_order(root: Node, image: Tensor) -> dict[Node, int]:
    """Return {node: its place} of all nodes between logits and image, the logits' first; edges only go forward."""
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
    """Return the nodes that every path from logits to image passes, and which of their outputs the paths use."""
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
