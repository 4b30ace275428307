"""Methods of gradients with respect to the pixels; their maps have one value per pixel of the network's input.

x is the network's input, T the target. Colours are summed, so that a map stays signed and adds up.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.errors import OptionError
from camserve.graph.differentiation import steady
from camserve.methods.evidence import Evidence
from camserve.methods.watching.biases import Biased
from camserve.methods.watching.rectifiers import is_relu, steps_behind
from camserve.methods.weighted import gradcam

# Integrated gradients: at how many points between baseline and image gradients are computed.
STEPS = 32


def integratedgradients(evidence: Evidence) -> Tensor:
    """Integrated gradients: what each pixel adds on the path from a grey image to this image.

    map = sum_colours (x - x0) sum_i w_i dT/dx(x0 + s_i (x - x0)), s_i and w_i the STEPS points and weights of Gauss and
    Legendre on 0 .. 1: they approximate the integral better than the same number of equidistant points. The baseline x0
    is 0 in the network's own units: the mean colour of its training images, not black. The map adds up to T(x) - T(x0)
    except for the error of this rule. Sundararajan et al., ICML 2017, arXiv:1703.01365.
    """
    images, batch = evidence.around.images, max(1, evidence.around.batch // 2)  # autograd keeps intermediate values
    total, (points, weights) = torch.zeros_like(images), (one.to(images) for one in gauss_legendre(STEPS))

    def passed(part: Tensor) -> Tensor:
        share, weight = (one[part, None, None, None, None] for one in (points, weights))
        between = share * images
        gradients = evidence.image_gradients(between.flatten(0, 1))
        return (weight * gradients.reshape(between.shape)).sum(0)

    for added in evidence.of_parts(STEPS, passed, batch=batch):
        total = total + added
    return (images * total).sum(1)


def gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Return sorted points of 0 .. 1 and weights, float64 (count,), exact for polynomials up to degree 2 count - 1.

    The points are the eigenvalues of the recurrence of Legendre's polynomials. Golub & Welsch 1969.
    """
    step = torch.arange(1, count, dtype=torch.float64)
    beside = step / (4 * step**2 - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return (values + 1) / 2, vectors[0] ** 2


def guidedbackprop(evidence: Evidence) -> Tensor:
    """Guided backpropagation: gradients that every ReLU lets through only where they are positive.

    map = sum_colours of dT/dx with the gradient after each ReLU replaced by its positive part. A ReLU is every step
    that gives 0 for negative values and passes values above, also ReLU6 and clamp(min=0), in every module. The map
    shows edges almost independently of what the network has learned (Adebayo et al., NeurIPS 2018), so it is no
    evidence for a class. Springenberg et al., ICLR workshop 2015, arXiv:1412.6806. Raises OptionError if the network
    has no ReLU, or a ReLU whose gradient cannot be changed.
    """
    with torch.enable_grad():
        leaf = evidence.around.images.detach().clone().requires_grad_()
        logits = _followed(evidence.around.network(leaf))
        relus = [step for step in steps_behind(logits) if is_relu(step)]
        if not relus:
            raise OptionError(
                "guided backpropagation needs ReLUs, and this network has none; try 'integratedgradients' or 'hirescam'"
            )
        for step in relus:
            step.register_prehook(_positive)  # the hook lives as long as this graph
        (gradients,) = torch.autograd.grad(steady(evidence.target(logits).sum()), leaf)
    return gradients.sum(1)


def guidedgradcam(evidence: Evidence) -> Tensor:
    """Guided Grad-CAM: the edges of guided backpropagation at the places where Grad-CAM finds the class.

    map = guided backpropagation x ReLU(Grad-CAM), the latter laid over the input with each cell at its true place. Only
    Grad-CAM depends on the class; the details come from guided backpropagation and share its weakness.
    Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    return guidedbackprop(evidence) * evidence.around.spread(gradcam(evidence).clamp(min=0))


def fullgrad(evidence: Evidence) -> Tensor:
    """FullGrad: the score divided among the pixels and the biases of every layer, each at its place.

    map = sum_colours |dT/dx x| + sum_l U(sum_k |dT/dz_lk b_lk|), z_l the output of a convolution or batch norm with
    bias b_l; a batch norm's own bias is beta - mean gamma / std. U lays a grid over the input with each cell at its
    place and divides a cell's value among its pixels. Without absolute values, and with the linear layers' biases,
    these terms add up to T if all activations are ReLUs; with other activations a part is lost. Each term stays in
    logits; the paper first scales every layer's term to 0..1, so that a layer without weight counts as much as the
    others. Biases of layers with a single cell have no place and are left out. Grids after the chosen layer are laid
    over the whole input.
    Srinivas & Fleuret, NeurIPS 2019, arXiv:1905.00780.
    """
    spread = {tuple(stage.activations.shape[-2:]): stage.around.spread for stage in evidence.around.stages()}
    images = evidence.around.images
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        with Biased() as biased:
            logits = evidence.around.network(leaf)
        biased.check(_followed(logits))
        ends = [leaf, *(value for value, _ in biased.kept)]
        gradients = torch.autograd.grad(steady(evidence.target(logits).sum()), ends, materialize_grads=True)
    by_grid = {tuple(images.shape[-2:]): (gradients[0] * images).abs().sum(1)}
    for gradient, (_, bias) in zip(gradients[1:], biased.kept, strict=True):
        term = (gradient * bias[:, None, None]).abs().sum(1)
        grid = tuple(term.shape[-2:])
        by_grid[grid] = by_grid[grid] + term if grid in by_grid else term
    return torch.stack([_shared_out(term, spread.get(grid), images) for grid, term in by_grid.items()]).sum(0)


def _followed(logits: Tensor) -> Tensor:
    """Return `logits`. Raises OptionError if autograd cannot follow them back to the image."""
    if not logits.requires_grad:
        raise OptionError(
            "this network's answer cannot be differentiated: its forward uses no_grad, detach or numpy; remove that, "
            "or try 'occlusion' or 'rise'"
        )
    return logits


def _positive(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if gradient is None else gradient.clamp(min=0) for gradient in gradients)


def _shared_out(term: Tensor, spread: Callable[[Tensor], Tensor] | None, images: Tensor) -> Tensor:
    """Lay (N, h, w) over the input, and divide every cell's amount among its pixels."""
    size = images.shape[-2:]
    if term.shape[-2:] == size:
        return term
    laid = F.interpolate(term[:, None], size, mode="bilinear")[:, 0] if spread is None else spread(term)
    return laid * (term[0].numel() / laid[0].numel())
