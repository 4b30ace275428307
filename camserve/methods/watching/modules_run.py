"""How an image passes through a network: which module runs, the output of each module, and a run with changed outputs.

A network whose graph is known is run node by node. Other networks get short-lived hooks that act only in their own
thread. No state outlives a call.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.errors import OptionError
from camserve.graph.cut import layer_names, split
from camserve.methods.watching.attention_weights import Attending, Weights

# Called when a module ends, with its path and output; returns the output to use instead.
Leave = Callable[[str, Any], Any]


class Course:
    """A network that can be run under observation, images (N, c, H, W) -> logits (N, C)."""

    def __init__(self, network: nn.Module) -> None:
        self._network, self._inside = network, list[str]()
        self._graph = network if isinstance(network, fx.GraphModule) else None
        self._names = {} if self._graph is None else layer_names(self._graph)
        self._at = ""

    def here(self) -> str:
        """Return the path of the innermost module that runs."""
        return self._inside[-1] if self._inside else self._at

    def run(self, images: Tensor, leave: Leave) -> Tensor:
        """Run the network and return the logits. leave: called at the end of each module."""
        with _watched(self._network, self._inside, leave):
            run = self._network if self._graph is None else _Nodes(self._graph, self._names, leave, self._enter).run
            logits: Tensor = run(images)
        return logits

    def _enter(self, path: str) -> None:
        self._at = path

    def reader(self, block: str, images: Tensor) -> Callable[[Tensor], tuple[Tensor, list[Weights]]]:
        """Return a function from the tokens of `block` to the logits and the attention after the block.

        Raises OptionError if the network needs more than these tokens.
        """
        if self._graph is not None and block in self._names:
            _, head = split(self._graph, self._names[block])
            if sum(node.op == "placeholder" for node in head.graph.nodes) == 1:  # others may be sizes or tokens
                return lambda tokens: _attended(head, tokens)
        self._check_alone(block, images)
        return lambda tokens: self._again(block, images, tokens)

    def _check_alone(self, block: str, images: Tensor) -> None:
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            logits = self.run(leaf, lambda path, output: cut_off(output) if path == block else output)
        if logits.requires_grad and torch.autograd.grad(logits.sum(), leaf, allow_unused=True)[0] is not None:
            raise OptionError(
                "LeGrad applies the classifier to the tokens of every block, and this network's answer also depends on "
                "tokens from before its last block; try 'gradcam'"
            )

    def _again(self, block: str, images: Tensor, tokens: Tensor) -> tuple[Tensor, list[Weights]]:
        before: list[Weights] = []

        def replace(path: str, output: Any) -> Any:
            if path != block:
                return output
            before[:] = reading.found
            return with_tokens(output, tokens)

        with Attending(self.here) as reading:
            logits = self.run(images, replace)
        return logits, reading.found[len(before) :]


def tokens_in(output: Any) -> Tensor | None:
    """Return the tokens in a block's output: the tensor, or the first member of a tuple."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return first if isinstance(first, Tensor) else None


def with_tokens(output: Any, tokens: Tensor) -> Any:
    """Return a block's output with other tokens."""
    return type(output)((tokens, *output[1:])) if isinstance(output, tuple | list) else tokens


def cut_off(output: Any) -> Any:
    """Return a block's output with detached tokens."""
    tokens = tokens_in(output)
    return output if tokens is None else with_tokens(output, tokens.detach())


def _attended(head: nn.Module, tokens: Tensor) -> tuple[Tensor, list[Weights]]:
    course = Course(head)
    with Attending(course.here) as reading:
        logits = course.run(tokens, lambda path, output: output)
    return logits, reading.found


@contextmanager
def _watched(network: nn.Module, inside: list[str], leave: Leave) -> Iterator[None]:
    """Inside the context, the path of the module that runs is the last of `inside`; `leave` is called as it ends."""
    thread, handles = threading.get_ident(), list[Any]()

    def watch(part: nn.Module, path: str) -> None:
        def enter(*_: Any) -> None:
            if threading.get_ident() == thread:
                inside.append(path)

        def end(module: nn.Module, inputs: Any, output: Any) -> Any:
            if threading.get_ident() != thread:
                return None
            while inside and inside.pop() != path:
                pass
            return leave(path, output)

        handles.extend((part.register_forward_pre_hook(enter), part.register_forward_hook(end)))

    try:
        for path, part in network.named_modules():
            if path:
                watch(part, path)
        yield
    finally:
        inside.clear()
        for handle in handles:
            handle.remove()


class _Nodes(fx.Interpreter):
    """Runs a graph, and reports also the modules whose operations stand in the graph one by one."""

    def __init__(
        self, graph: fx.GraphModule, names: dict[str, fx.Node], leave: Leave, enter: Callable[[str], None]
    ) -> None:
        super().__init__(graph)
        self._enter, self._leave = enter, leave
        self._ending: dict[fx.Node, list[str]] = {}
        for name, node in names.items():
            if node.op != "call_module" or name != str(node.target):  # those have hooks
                self._ending.setdefault(node, []).append(name)

    def run_node(self, n: fx.Node) -> Any:
        self._enter(next(reversed(n.meta.get("nn_module_stack") or {"": None})))
        value = super().run_node(n)
        for name in reversed(self._ending.get(n, [])):
            value = self._leave(name, value)
        return value
