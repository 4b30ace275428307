"""Transformers' tokens as feature maps, so that a layer of tokens can be cut, weighted and drawn like any other.

Tokens (N, p + h w, K) are p prefix tokens (class, distillation, registers), then one token a patch, row by row. The
graph is rewritten to take them apart and put them together again; a cut between the two sees (N, K, h, w), and the
prefix tokens travel beside it untouched.
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.devices import noise
from camserve.receptive import Fields

_MOST_PREFIX_TOKENS = 8


def prefix_tokens(shape: tuple[int, ...], cells: tuple[int, int]) -> int | None:
    """How many tokens come before the patches' in a tensor of that shape, None where it is no such tensor.

    cells: (w, h) of the patches' grid.
    """
    if len(shape) != 3 or shape[0] != 1:
        return None
    prefix = shape[1] - cells[0] * cells[1]
    return prefix if 0 <= prefix <= _MOST_PREFIX_TOKENS else None


def token_nodes(graph: fx.GraphModule, fields: Fields, patches: fx.Node) -> dict[fx.Node, int]:
    """Every node after `patches`, the last feature map, that gives one token a patch: {node: prefix tokens}."""
    shape, nodes = fields.shapes[patches.name], list(graph.graph.nodes)
    found = {}
    for node in nodes[nodes.index(patches) + 1 :]:
        prefix = prefix_tokens(fields.shapes[node.name], (shape[-1], shape[-2]))
        embedded = prefix is not None and fields.shapes[node.name][2] == shape[1]  # queries and keys are wider
        if prefix is not None and embedded and node.op in ("call_module", "call_function", "call_method"):
            found[node] = prefix
    return found


def last_that_matters(graph: fx.GraphModule, candidates: dict[fx.Node, int], size: int) -> fx.Node | None:
    """The last node whose patch tokens the answer depends on.

    Behind the last attention only the class token counts, so the patches' tokens there explain nothing.
    """
    keeper = _Keeper(graph, set(candidates))
    with torch.enable_grad():
        answer = keeper.run(noise(graph, size, size).requires_grad_())
        weights = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer.device)
        kept = [node for node in candidates if node in keeper.kept]
        gradients = torch.autograd.grad((answer * weights).sum(), [keeper.kept[n] for n in kept], allow_unused=True)
    for node, gradient in zip(reversed(kept), reversed(gradients), strict=True):
        if gradient is not None and bool(gradient[:, candidates[node] :].any()):
            return node
    return None


class _Keeper(fx.Interpreter):
    """Runs a graph and keeps what some nodes give."""

    def __init__(self, graph: fx.GraphModule, nodes: set[fx.Node]) -> None:
        super().__init__(graph)
        self.nodes, self.kept = nodes, dict[fx.Node, Tensor]()

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A last linear layer that starts at zero, as a ViT's does before training, would hide what matters."""
        layer = self.fetch_attr(target)
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            generator = torch.Generator().manual_seed(2)
            weight = torch.randn(layer.weight.shape, generator=generator).to(args[0].device)
            return nn.functional.linear(args[0], weight)
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.nodes and isinstance(value, Tensor) and value.requires_grad:
            self.kept[n] = value
        return value


def tokens_as_map(
    graph: fx.GraphModule, tokens: fx.Node, prefix: int, cells: tuple[int, int]
) -> tuple[fx.GraphModule, fx.Node]:
    """`graph` with its `tokens` taken apart into a map (N, K, h, w) and put together again, and the map's node.

    cells: (w, h). The given graph stays as it is.
    """
    copies: dict[fx.Node, fx.Node] = {}
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph.graph, copies))
    own, rest = copies[tokens], slice(None)
    users = list(own.users)
    with copy.inserting_after(own):
        patches = copy.call_function(operator.getitem, (own, (rest, slice(prefix, None))))
    with copy.inserting_after(patches):
        moved = copy.call_method("transpose", (patches, 1, 2))
    with copy.inserting_after(moved):
        grid = copy.call_method("unflatten", (moved, 2, (cells[1], cells[0])))
    grid.meta = dict(tokens.meta)
    with copy.inserting_after(grid):
        flat = copy.call_method("flatten", (grid, 2))
    with copy.inserting_after(flat):
        back = copy.call_method("transpose", (flat, 1, 2))
    with copy.inserting_after(back):
        first = copy.call_function(operator.getitem, (own, (rest, slice(None, prefix))))
    with copy.inserting_after(first):
        whole = copy.call_function(torch.cat, ((first, back), 1))
    for user in users:
        user.replace_input_with(own, whole)
    return fx.GraphModule(graph, copy), grid


def last_as_first(graph: fx.GraphModule, node: fx.Node) -> tuple[fx.GraphModule, fx.Node]:
    """`graph` with a channels-last map (N, h, w, K) turned to (N, K, h, w) and back, and the turned map's node."""
    copies: dict[fx.Node, fx.Node] = {}
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph.graph, copies))
    own = copies[node]
    users = list(own.users)
    with copy.inserting_after(own):
        first = copy.call_method("permute", (own, 0, 3, 1, 2))
    first.meta = dict(node.meta)
    with copy.inserting_after(first):
        back = copy.call_method("permute", (first, 0, 2, 3, 1))
    for user in users:
        user.replace_input_with(own, back)
    return fx.GraphModule(graph, copy), first
