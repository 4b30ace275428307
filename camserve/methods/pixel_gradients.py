"""Methods that follow gradients back to the pixels; their maps have one value a pixel of the network's input.

x is the network's input, T the target. Colours are summed, so that a map stays signed and adds up.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.errors import OptionError
from camserve.methods.evidence import Evidence
from camserve.methods.weighted import gradcam

# Integrated gradients: how many points of the way from the baseline are looked at.
STEPS = 32

_RELUS = (nn.ReLU, nn.ReLU6)
_RELU_FUNCTIONS = (F.relu, F.relu_, F.relu6, torch.relu, torch.relu_)


def integratedgradients(evidence: Evidence) -> Tensor:
    """Integrated gradients: what each pixel adds on the way from a grey image to this one; nothing is counted twice.

    map = sum_colours (x - x0) mean_s dT/dx(x0 + (s - 1/2) / STEPS (x - x0)), s = 1 .. STEPS: the midpoint rule. The
    baseline x0 is 0 in the network's own units, the mean colour it was trained on, not black. The map adds up to
    T(x) - T(x0) but for the rule's error. Sundararajan et al., ICML 2017, arXiv:1703.01365.
    """
    images, batch = evidence.around.images, max(1, evidence.around.batch // 4)  # autograd keeps what it passes
    total, points = torch.zeros_like(images), [(step + 0.5) / STEPS for step in range(STEPS)]
    for start in range(0, STEPS, batch):
        share = images.new_tensor(points[start : start + batch])[:, None, None, None, None]
        between = share * images
        gradients = evidence.image_gradients(between.flatten(0, 1))
        total = total + gradients.reshape(between.shape).sum(0)
        evidence.report(min(start + batch, STEPS), STEPS)
    return (images * total / STEPS).sum(1)


def guidedbackprop(evidence: Evidence) -> Tensor:
    """Guided backpropagation: gradients that every ReLU lets through only where they are positive.

    map = sum_colours of dT/dx with the gradient behind each ReLU replaced by its positive part. It draws edges almost
    whatever the network has learned (Adebayo et al., NeurIPS 2018), so it is no evidence of what a class rests on.
    Springenberg et al., ICLR workshop 2015, arXiv:1412.6806. Raises OptionError where there is no ReLU to guide.
    """
    graph = _graph_of(evidence, "guided backpropagation changes the gradient of every ReLU")
    guided = _Guided(graph)
    with torch.enable_grad():
        leaf = evidence.around.images.detach().clone().requires_grad_()
        score = evidence.target(guided.run(leaf)).sum()
        if not guided.found:
            raise OptionError(
                "guided backpropagation needs ReLUs, and this network has none; try 'integratedgradients' or 'hirescam'"
            )
        (gradients,) = torch.autograd.grad(score, leaf)
    return gradients.sum(1)


def guidedgradcam(evidence: Evidence) -> Tensor:
    """Guided Grad-CAM: the edges of guided backpropagation where Grad-CAM says that the class is.

    map = guided backpropagation x ReLU(Grad-CAM), the latter laid over the input by its cells' true places. The class
    comes from Grad-CAM alone; the details are guided backpropagation's, with its fault.
    Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    return guidedbackprop(evidence) * evidence.around.spread(gradcam(evidence).clamp(min=0))


def fullgrad(evidence: Evidence) -> Tensor:
    """FullGrad: the score shared out between the pixels and the biases of every layer, each where it acted.

    map = sum_colours |dT/dx x| + sum_l U(sum_k |dT/dz_lk b_lk|), z_l what a convolution or batch norm with bias b_l
    gives; a batch norm's own bias is beta - mean gamma / std. U lays a grid over the input by its cells' places and
    divides what a cell holds among its pixels. Signed, and with the linear layers' biases, these terms add up to T
    where all activations are ReLUs; others bend away a part. Each term stays in logits: the paper scales every
    layer's to 0..1 first, so that a layer of no weight counts as much as any. Biases of layers with a single cell
    have no place and are left out. Grids behind the layer asked for are laid over the whole input.
    Srinivas & Fleuret, NeurIPS 2019, arXiv:1905.00780.
    """
    graph = _graph_of(evidence, "FullGrad needs the bias of every layer")
    spread = {tuple(stage.activations.shape[-2:]): stage.around.spread for stage in evidence.around.stages()}
    images = evidence.around.images
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        biased = _Biased(graph)
        score = evidence.target(biased.run(leaf)).sum()
        gradients = torch.autograd.grad(score, [leaf, *(value for value, _ in biased.kept)], materialize_grads=True)
    by_grid = {tuple(images.shape[-2:]): (gradients[0] * images).abs().sum(1)}
    for gradient, (_, bias) in zip(gradients[1:], biased.kept, strict=True):
        term = (gradient * bias[:, None, None]).abs().sum(1)
        grid = tuple(term.shape[-2:])
        by_grid[grid] = by_grid[grid] + term if grid in by_grid else term
    return torch.stack([_shared_out(term, spread.get(grid), images) for grid, term in by_grid.items()]).sum(0)


def bias_of(layer: nn.Module) -> Tensor | None:
    """What a convolution or batch norm adds whatever its input, (K,); None where it is neither or adds nothing."""
    if isinstance(layer, nn.Conv2d):
        return layer.bias
    if not isinstance(layer, nn.BatchNorm2d) or layer.running_mean is None or layer.running_var is None:
        return None
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    return (0 if layer.bias is None else layer.bias) - layer.running_mean * scale


def _graph_of(evidence: Evidence, why: str) -> fx.GraphModule:
    network = evidence.around.network
    if not isinstance(network, fx.GraphModule):
        raise OptionError(
            f"{why}, and torch.fx cannot trace this network; try 'integratedgradients', which takes any network"
        )
    return network


def _shared_out(term: Tensor, spread: Callable[[Tensor], Tensor] | None, images: Tensor) -> Tensor:
    """(N, h, w) laid over the input, every cell's amount divided among its pixels."""
    size = images.shape[-2:]
    if term.shape[-2:] == size:
        return term
    laid = F.interpolate(term[:, None], size, mode="bilinear")[:, 0] if spread is None else spread(term)
    return laid * (term[0].numel() / laid[0].numel())


class _Guided(fx.Interpreter):
    """Runs a graph; behind every ReLU only positive gradients pass. Nothing of the network changes."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found = False

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if self._is_relu(n):
            self.found = True
            value.register_hook(lambda gradient: gradient.clamp(min=0))  # lives as long as this one tensor
        return value

    def _is_relu(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self.fetch_attr(str(node.target)), _RELUS)
        return node.target in _RELU_FUNCTIONS or (node.op == "call_method" and node.target in ("relu", "relu_"))


class _Biased(fx.Interpreter):
    """Runs a graph and keeps what layers with a bias gave: (value, bias)."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.kept: list[tuple[Tensor, Tensor]] = []

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().call_module(target, args, kwargs)
        bias = bias_of(self.fetch_attr(target))
        if bias is None or value.ndim != 4 or value.shape[-2:].numel() == 1:
            return value
        self.kept.append((value, bias))
        return value.clone()  # an in-place ReLU would write into what is kept
