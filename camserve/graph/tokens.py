"""Rewrite a traced graph so that it can be cut at a layer of tokens or channels-last maps.

The new graph turns the layer's value into a map (N, K, h, w) and back again, and can be cut between the two. Tokens
without a place (class, distillation, registers) are carried beside the map, unchanged.
"""

import operator

import torch
from torch import Tensor, fx

from camserve.graph.layout import Layout, grid_of
from camserve.graph.trace import Graph


def turned(graph: fx.GraphModule, node: fx.Node, layout: Layout) -> tuple[fx.GraphModule, fx.Node]:
    """A copy of `graph` that turns the value of `node` into a map and back, and the node of the map."""
    copies: dict[fx.Node, fx.Node] = {}
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph.graph, copies))
    own = copies[node]
    users = list(own.users)
    if layout.is_tokens:
        grid, whole = _of_tokens(copy, own, layout)
    else:
        grid, whole = _of_last(copy, own)
    grid.meta = dict(node.meta)
    for user in users:
        user.replace_input_with(own, whole)
    return Graph(graph, copy), grid


def _of_last(copy: fx.Graph, own: fx.Node) -> tuple[fx.Node, fx.Node]:
    with copy.inserting_after(own):
        first = copy.call_method("permute", (own, 0, 3, 1, 2))
    with copy.inserting_after(first):
        return first, copy.call_method("permute", (first, 0, 2, 3, 1))


def _of_tokens(copy: fx.Graph, own: fx.Node, layout: Layout) -> tuple[fx.Node, fx.Node]:
    """The nodes of the map of (N, p + h w, K) or (p + h w, N, K), and of the same tensor put together again."""
    image = next(iter(copy.nodes))
    last, rest = own, slice(None)

    def then(method: str, *args: object) -> fx.Node:
        nonlocal last
        with copy.inserting_after(last):
            last = copy.call_method(method, args)  # type: ignore[arg-type]
        return last

    def call(function: object, *args: object) -> fx.Node:
        nonlocal last
        with copy.inserting_after(last):
            last = copy.call_function(function, args)  # type: ignore[arg-type]
        return last

    tokens = then("transpose", own, 0, 1) if layout.kind == "sequence" else own
    patches = call(operator.getitem, tokens, (rest, slice(layout.prefix, None))) if layout.prefix else tokens
    cells = call(cells_of, patches, image, *layout.stride)
    moved = then("transpose", patches, 1, 2)
    grid = then("unflatten", moved, 2, cells)
    back = then("transpose", then("flatten", grid, 2), 1, 2)
    if layout.prefix:
        first = call(operator.getitem, tokens, (rest, slice(None, layout.prefix)))
        back = call(torch.cat, (first, back), 1)
    return grid, then("transpose", back, 0, 1) if layout.kind == "sequence" else back


def cells_of(patches: Tensor, images: Tensor, across: float, down: float) -> tuple[int, int]:
    """The grid (h, w) of tokens (N, h w, K) that were made from `images` (N, c, H, W); across, down: pixels apart."""
    return grid_of(int(patches.shape[1]), int(images.shape[-2]), int(images.shape[-1]), down, across)
