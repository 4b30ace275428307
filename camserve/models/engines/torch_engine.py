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
    """Runs a body `images -> (activations, carried)`, and a head after it; holds no state between calls.

    body: from `prepared`. head: turns activations into logits. channels_last: the memory layout of images; it
    is faster for convolutions, but a network that uses `view` may fail on it.
    """

    body: nn.Module
    head: Head
    channels_last: bool = True
    name = "torch"
    precision = "float32"
    tolerance = TOLERANCE

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), the other inputs of the head, and logits (N, C)."""
        activations, carried = self.activations(images)
        return activations, carried, self.head.logits(activations, carried)

    def activations(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried]:
        """(N, c, H, W) -> activations (N, K, h, w) and the other inputs of the head."""
        # an untraced network may store tensors for later calls, which must work with autograd
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        mode = torch.inference_mode() if isinstance(self.body, fx.GraphModule) else torch.no_grad()
        with mode:
            activations, carried = self.body(images.contiguous(memory_format=layout))
        # autograd refuses tensors made in inference mode, so return clones made outside it
        return activations.clone(), tuple(v.clone() if isinstance(v, torch.Tensor) else v for v in carried)

    def image_gradients(self, images: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """d target / d images, (N, c, H, W): autograd of the body, applied to the head's own gradient.

        Raises OptionError if there is no gradient.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format

        def followed(leaves: Sequence[torch.Tensor]) -> torch.Tensor:
            activations, carried = self._differentiated(leaves[0])
            if carried:  # the head depends on the images in another way, too
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
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w); the head does not run. Raises OptionError."""
        return self.head.class_maps(self.activations(images)[0])

    def forget_sizes(self) -> None:
        """As in `Engine`: torch caches nothing."""


def prepared(body: nn.Module) -> nn.Module:
    """`body` in the form that torch runs fastest; equal to float precision. The modules of `body` keep their values."""
    folded = fold_batch_norm(body) if isinstance(body, fx.GraphModule) else body
    try:
        return folded.to(memory_format=torch.channels_last)
    except RuntimeError:  # a 4-D parameter outside a convolution is expanded or strided; the layout only affects speed
        return folded


def fold_batch_norm(body: fx.GraphModule) -> fx.GraphModule:
    """`body` with each convolution and the batch normalisation after it replaced by one convolution.

    Only where nothing else uses the convolution. Returns `body` itself if there is none; its modules do not change.
    Equal to float precision; saves about a tenth of the time.
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
    """Whether a layer computes exactly what its kind does, with fixed weights.

    A batch normalisation of another class may contain an activation, as timm's do; a convolution of another class may
    only pad in another way. Weights that are computed, pruned or normalised at each call cannot be folded, and
    neither can a normalisation with the statistics of the batch.
    """
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    own = type(layer) is kind or (kind is nn.Conv2d and hasattr(layer, "same_padding"))
    if not own or not isinstance(layer._parameters.get("weight"), nn.Parameter) or hasattr(layer, "parametrizations"):
        return False
    return isinstance(layer, nn.Conv2d) or (layer.running_mean is not None and not layer.training)


def _module(graph: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls; None if it calls no module, or if the module is used elsewhere too."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    uses = sum(other.target == node.target for other in graph.graph.nodes if other.op == "call_module")
    return graph.get_submodule(str(node.target)) if uses == 1 else None
