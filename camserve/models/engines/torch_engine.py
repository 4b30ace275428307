"""The network on torch: channels last, batch normalisation folded into the convolutions before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from camserve.graph.differentiation import gradients
from camserve.graph.heads import Carried, Head, TargetFunction
from camserve.graph.original.agreement import TOLERANCE
from camserve.graph.trace import Graph
from camserve.models.engines.pointwise import with_matrices


@dataclass(frozen=True)
class TorchEngine:
    """Runs a body `images -> (activations, carried)`, and a head behind it; holds no state between calls.

    body: as `prepared` makes it. head: what turns its activations into logits. channels_last: how images lie in memory,
    which is faster for convolutions, and which a network that uses `view` may not take.
    """

    body: nn.Module
    head: Head
    channels_last: bool = True
    name = "torch"
    precision = "float32"
    tolerance = TOLERANCE

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), what the head needs besides, and logits (N, C)."""
        activations, carried = self.activations(images)
        return activations, carried, self.head.logits(activations, carried)

    def activations(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried]:
        """(N, c, H, W) -> activations (N, K, h, w) and what the head needs besides."""
        # an untraced network may keep something for later calls, which must be fit for autograd
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        mode = torch.inference_mode() if isinstance(self.body, fx.GraphModule) else torch.no_grad()
        with mode:
            activations, carried = self.body(images.contiguous(memory_format=layout))
        # autograd refuses tensors made in inference mode; clones made outside it are ordinary ones
        return activations.clone(), tuple(v.clone() if isinstance(v, torch.Tensor) else v for v in carried)

    def image_gradients(self, images: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """d target / d images, (N, c, H, W): the body's own autograd, behind the head's gradient as it knows it.

        Raises OptionError where there is none.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format

        def followed(leaves: Sequence[torch.Tensor]) -> torch.Tensor:
            activations, carried = self._differentiated(leaves[0])
            if carried:  # the head sees the images by another way, too
                return target(self.head.module(activations, *carried)).sum()
            slopes = self.head.gradients(activations.detach(), target)
            product: torch.Tensor = activations * slopes
            return product.sum()

        return gradients(followed, [images.contiguous(memory_format=layout)])[0]

    @cached_property
    def _differentiated(self) -> nn.Module:
        is_known = self.channels_last and isinstance(self.body, fx.GraphModule)
        return with_matrices(self.body) if is_known else self.body  # type: ignore[arg-type]

    def class_maps(self, images: torch.Tensor) -> torch.Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w); the head is not run. Raises OptionError."""
        return self.head.class_maps(self.activations(images)[0])

    def forget_sizes(self) -> None:
        """As `Engine` has it: torch keeps nothing."""


def prepared(body: nn.Module) -> nn.Module:
    """`body` as torch runs it fastest; equal to float precision. The modules of `body` keep their values."""
    folded = fold_batch_norm(body) if isinstance(body, fx.GraphModule) else body
    try:
        return folded.to(memory_format=torch.channels_last)
    except RuntimeError:  # a 4-D parameter that is no convolution's, expanded or strided: the layout is only speed
        return folded


def fold_batch_norm(body: fx.GraphModule) -> fx.GraphModule:
    """`body` with each convolution that only feeds a batch normalisation replaced by the two in one.

    `body` itself where there is none. Its modules stay as they are. Equal to float precision; about a tenth of the
    time saved.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(body.graph, {}))
    folded, changed = Graph(body, graph), False
    for node in list(folded.graph.nodes):
        conv, norm = _module(folded, node.args[0] if node.args else None), _module(folded, node)
        if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
            continue
        if _is_plain(conv, nn.Conv2d) and _is_plain(norm, nn.BatchNorm2d) and len(node.args[0].users) == 1:
            folded.add_submodule(str(node.args[0].target), fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(node.args[0])
            folded.graph.erase_node(node)
            changed = True
    if not changed:
        return body
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _is_plain(layer: nn.Conv2d | nn.BatchNorm2d, kind: type[nn.Module]) -> bool:
    """Whether a layer computes what its kind does, from weights of its own.

    A batch normalisation of another class may hold an activation, as timm's do; a convolution of another class may
    only pad otherwise. Weights that are computed, pruned or normalised anew at each call cannot be folded into, and
    statistics of the batch are none.
    """
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    own = type(layer) is kind or (kind is nn.Conv2d and hasattr(layer, "same_padding"))
    if not own or not isinstance(layer._parameters.get("weight"), nn.Parameter) or hasattr(layer, "parametrizations"):
        return False
    return isinstance(layer, nn.Conv2d) or (layer.running_mean is not None and not layer.training)


def _module(graph: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls, None where it calls none or the module is used elsewhere too."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    uses = sum(other.target == node.target for other in graph.graph.nodes if other.op == "call_module")
    return graph.get_submodule(str(node.target)) if uses == 1 else None
