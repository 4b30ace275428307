"""Running a transformer's graph so that its attention can be read, and differentiated; nothing of it changes."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.errors import OptionError

_FUNCTION = F.scaled_dot_product_attention


class Attending(fx.Interpreter):
    """Runs a graph with every attention in the open.

    maps: of each attention in order, (N, heads, tokens, tokens), rows adding up to 1.
    gradients: of `score` by each of them, where `ends` are given: `score` of what each of these nodes gives, a scalar,
    is differentiated by the attention before it. Run with autograd; it reaches from one end to the next only.
    """

    def __init__(
        self, graph: fx.GraphModule, ends: Collection[fx.Node] = (), score: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__(graph)
        self.maps, self.gradients = list[Tensor](), list[Tensor]()
        self._ends, self._score = ends, score

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n not in self._ends or self._score is None:
            return value
        since = self.maps[len(self.gradients) :]
        self.gradients += torch.autograd.grad(self._score(value), since, materialize_grads=True)
        return value.detach()

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.fetch_attr(target)
        if not isinstance(layer, nn.MultiheadAttention):
            return super().call_module(target, args, kwargs)
        if len(args) > 3 or kwargs.get("attn_mask") is not None or kwargs.get("key_padding_mask") is not None:
            raise OptionError(f"attention '{target}' is masked, which this method does not follow; try 'gradcam'")
        if layer.in_proj_weight is None or layer.bias_k is not None or layer.add_zero_attn:
            raise OptionError(f"attention '{target}' adds tokens of its own or joins two sources; try 'gradcam'")
        _, maps = layer(*args, need_weights=True, average_attn_weights=False)
        tokens = args[2] if layer.batch_first else args[2].transpose(0, 1)
        first = 2 * layer.embed_dim  # the weights of queries and keys come before
        bias = None if layer.in_proj_bias is None else layer.in_proj_bias[first:]
        values = F.linear(tokens, layer.in_proj_weight[first:], bias)
        values = values.reshape(*values.shape[:2], layer.num_heads, -1).transpose(1, 2)
        joined = layer.out_proj((self._kept(maps) @ values).transpose(1, 2).flatten(2))
        return (joined if layer.batch_first else joined.transpose(0, 1)), None

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is not _FUNCTION:
            return super().call_function(target, args, kwargs)
        given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | kwargs
        if given.get("attn_mask") is not None or given.get("is_causal"):
            raise OptionError("this network's attention is masked, which this method does not follow; try 'gradcam'")
        query, key = given["query"], given["key"]
        scale = query.shape[-1] ** -0.5 if given.get("scale") is None else given["scale"]
        return self._kept((query @ key.mT * scale).softmax(-1)) @ given["value"]

    def _kept(self, maps: Tensor) -> Tensor:
        """`maps`; where a score is differentiated, as the leaf that it is differentiated by."""
        self.maps.append(maps if self._score is None else maps.detach().requires_grad_())
        return self.maps[-1]


def attention_paths(graph: fx.GraphModule) -> list[str]:
    """Where the graph attends: the path of the module, in the order in which they run."""
    found = []
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), nn.MultiheadAttention):
            found.append(str(node.target))
        elif node.target is _FUNCTION:
            found.append(next(reversed(node.meta.get("nn_module_stack") or {"": None})))
    return found
