"""What comes after the layer: activations (N, K, h, w) -> logits (N, C), and the gradients of the logits there.

A head of global average pooling and one linear layer W has its gradients in closed form:
dS_c / dA_k(x, y) = W_ck / (h w), the same at every place and for every image. Every other head is
differentiated by autograd, through the head only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from camserve.cut import Cut

# A scalar function of each image's logits: (N, C) -> (N,). A class is `lambda logits: logits[:, c]`.
TargetFunction = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Head:
    """The differentiable end of a model.

    module: (activations, *carried) -> logits (N, C), as `Cut.head`.
    weight (C, K), bias (C,): of the linear layer where the head is GAP + linear, else None.
    """

    module: nn.Module
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    @property
    def kind(self) -> str:
        """ "linear" where the closed forms hold, "general" where autograd does the work."""
        return "general" if self.weight is None else "linear"

    def logits(self, activations: torch.Tensor, carried: tuple[Any, ...] = ()) -> torch.Tensor:
        """(N, K, h, w) -> (N, C), without autograd."""
        with torch.no_grad():
            logits: torch.Tensor = self.module(activations, *carried)
        return logits

    def gradients(
        self, activations: torch.Tensor, target: TargetFunction, carried: tuple[Any, ...] = ()
    ) -> torch.Tensor:
        """d target / d activations, (N, K, h, w)."""
        if self.weight is None:
            return autograd_gradients(self.module, activations, target, carried)
        height, width = activations.shape[-2:]
        per_channel = self.channel_weights(self.logits(activations, carried), target) / (height * width)
        return per_channel[:, :, None, None].expand_as(activations)

    def channel_weights(self, logits: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """The linear layer's weights for the target, dT/dS W: (N, K). Only for kind "linear"."""
        assert self.weight is not None
        leaf = logits.detach().requires_grad_()
        (by_logit,) = torch.autograd.grad(target(leaf).sum(), leaf)
        used = by_logit.any(0)  # one class needs one row of the weights; reading all costs more than the map
        return by_logit[:, used] @ self.weight[used]

    def class_maps(self, activations: torch.Tensor) -> torch.Tensor:
        """CAM of every class, (N, C, h, w): the linear layer applied at every place, a 1x1 convolution.

        Only for kind "linear". mean(map_c) + bias_c = logit_c.
        """
        assert self.weight is not None
        return F.conv2d(activations, self.weight[:, :, None, None])


def autograd_gradients(
    module: nn.Module, activations: torch.Tensor, target: TargetFunction, carried: tuple[Any, ...] = ()
) -> torch.Tensor:
    """d target / d activations (N, K, h, w) by autograd through the head."""
    with torch.enable_grad():
        leaf = activations.detach().requires_grad_()
        (gradients,) = torch.autograd.grad(target(module(leaf, *carried)).sum(), leaf)
    return gradients


def head_of(cut: Cut) -> Head:
    """Recognise the head of a cut model."""
    linear = _pooled_linear(cut.head)
    if linear is None:
        return Head(cut.head)
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features)
    return Head(cut.head, linear.weight.detach(), bias.detach())


def _pooled_linear(head: fx.GraphModule) -> nn.Linear | None:
    """The linear layer of a head that is exactly pooling, flattening, dropout and that layer, in a row."""
    nodes = [node for node in head.graph.nodes if node.op != "placeholder"][1:-1]  # less clone and output
    placeholders = [node for node in head.graph.nodes if node.op == "placeholder"]
    if len(placeholders) != 1 or not nodes or any(len(node.users) != 1 for node in nodes):
        return None
    *middle, last = nodes
    pools = [node for node in middle if _is_global_pool(head, node)]
    others = [node for node in middle if node not in pools]
    layer = head.get_submodule(str(last.target)) if last.op == "call_module" else None
    if len(pools) == 1 and isinstance(layer, nn.Linear) and all(_keeps_values(head, node) for node in others):
        return layer
    return None


def _is_global_pool(head: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = head.get_submodule(str(node.target))
        return isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
    if node.target is F.adaptive_avg_pool2d:
        return node.args[1:] in ((1,), ((1, 1),), ([1, 1],)) or node.kwargs.get("output_size") in (1, (1, 1))
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return node.target in ("mean", torch.mean) and axes in ((2, 3), [2, 3], (-2, -1), [-2, -1], (-1, -2))


def _keeps_values(head: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the node only flattens, or does nothing when a model is evaluated."""
    if node.op == "call_module":
        return isinstance(head.get_submodule(str(node.target)), nn.Flatten | nn.Dropout | nn.Identity)
    if node.target is F.dropout:
        return not node.kwargs.get("training", True)
    return node.target in (torch.flatten, "flatten", "view", "reshape", "squeeze", torch.squeeze)
