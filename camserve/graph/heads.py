"""The part after the layer: activations (N, K, h, w) -> logits (N, C), and the gradients of the logits at the layer.

There are five kinds, from the most special to the most general. `camserve.graph.head_recognition` tells them apart, and
`camserve.graph.cosine_head` has the head of cosines:

    linear      global average pooling and one linear layer: gradients are known without a backward pass
    class map   the layer *is* the class map, one channel for each class (a 1x1 or fully convolutional classifier)
    cosine      global average pooling, a linear layer, and the cosine of that feature with each class
    pooled      global average pooling, then anything (an MLP, LayerNorm + linear): gradients are constant over space
    general     anything else: autograd through the head
"""

from collections.abc import Callable
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from camserve.catalogue.head_kinds import HeadKind
from camserve.errors import OptionError
from camserve.graph.differentiation import gradients

# A scalar function of each image's logits: (N, C) -> (N,). A class is `lambda logits: logits[:, c]`.
TargetFunction = Callable[[torch.Tensor], torch.Tensor]
Carried = tuple[Any, ...]
Float32 = npt.NDArray[np.float32]


# A target that is the sum of more logits than this is differentiated by autograd, which is then faster.
_FEW = 8


class Summands(NamedTuple):
    """Numbers that add up to the logits of one input: logits = bias + mean over cells of weight @ values.

    values: float32 (K, h, w). weight: float32 (C, K), None if the values are the class maps. bias: float32 (C,).
    """

    values: Float32
    weight: Float32 | None
    bias: Float32


class Head:
    """Any head. module: (activations, *carried) -> logits (N, C), as `camserve.graph.cut.Cut.head`.

    rectified: whether a ReLU is known to come first.
    """

    kind, rectified = HeadKind.GENERAL, False

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def logits(self, activations: torch.Tensor, carried: Carried = ()) -> torch.Tensor:
        """(N, K, h, w) -> (N, C), without autograd."""
        with torch.no_grad():
            logits: torch.Tensor = self.module(activations, *carried)
        return logits

    def gradients(self, activations: torch.Tensor, target: TargetFunction, carried: Carried = ()) -> torch.Tensor:
        """d target / d activations, (N, K, h, w)."""
        return autograd_gradients(self.module, activations, target, carried)

    def channel_weights(self, activations: torch.Tensor, logits: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """The weight of each channel in the class map of the target, (N, K). Raises OptionError without class maps."""
        raise OptionError(self._no_map())

    def class_maps(self, activations: torch.Tensor) -> torch.Tensor:
        """The map of every class, (N, C, h, w). Raises OptionError if the head has no class maps."""
        raise OptionError(self._no_map())

    def accounted(self, activations: torch.Tensor) -> torch.Tensor | None:
        """The logits as sums of the class maps, (N, C); None without class maps."""
        return None

    def summands(self, activations: torch.Tensor) -> Summands | None:
        """The parts of these sums, for use outside torch; None without class maps. activations: (1, K, h, w)."""
        return None

    def _no_map(self) -> str:
        return (
            "method 'cam' and class_maps need global average pooling and one linear layer, or a class map, right after "
            f"the layer; the head of this layer is {self.kind}. Try 'gradcam' or, if the network flattens the map, "
            "'hirescam', which work with any head; or try another layer"
        )


class PooledHead(Head):
    """Global average pooling comes first, so every place of a channel has the same gradient.

    Gradients are computed for the K pooled values only.
    """

    kind = HeadKind.POOLED

    def gradients(self, activations: torch.Tensor, target: TargetFunction, carried: Carried = ()) -> torch.Tensor:
        """The gradient of the mean over the h w cells, spread evenly over them."""
        pooled = activations.mean((2, 3), keepdim=True)
        per_channel = autograd_gradients(self.module, pooled, target, carried)
        return (per_channel / _cells(activations)).expand_as(activations)


class LinearHead(Head):
    """Global average pooling and one linear layer. weight: (C, K); bias: (C,).

    dS_c / dA_k(x, y) = W_ck / (h w): the same at every place and for every image.
    """

    kind = HeadKind.LINEAR

    def __init__(self, module: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__(module)
        self.weight, self.bias = weight, bias

    def gradients(self, activations: torch.Tensor, target: TargetFunction, carried: Carried = ()) -> torch.Tensor:
        """dT/dS W / (h w), spread evenly over the cells."""
        logits = self.logits(activations, carried)
        per_channel = self.channel_weights(activations, logits, target) / _cells(activations)
        return per_channel[:, :, None, None].expand_as(activations)

    def channel_weights(self, activations: torch.Tensor, logits: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """dT/dS W."""
        # one class needs one row of the weights: to read all rows costs more than the map
        terms = _terms_of(target)
        if terms is None:
            slopes = by_logit(logits, target)
            used = slopes.any(0)
            return slopes[:, used] @ self.weight[used]
        rows = (self.weight[index] if factor == 1 else factor * self.weight[index] for index, factor in terms)
        weights = reduce(torch.add, rows)
        return weights.expand(len(logits), -1)

    def as_convolution(self) -> nn.Conv2d:
        """The linear layer without its bias as a new module, activations (N, K, h, w) -> class maps."""
        classes, channels = self.weight.shape
        made = nn.Conv2d(channels, classes, 1, bias=False)
        made.weight = nn.Parameter(self.weight[:, :, None, None].clone(), requires_grad=False)
        return made

    def class_maps(self, activations: torch.Tensor) -> torch.Tensor:
        """The linear layer applied at every place, a 1x1 convolution. mean(map_c) + bias_c = logit_c."""
        return F.conv2d(activations, self.weight[:, :, None, None])

    def accounted(self, activations: torch.Tensor) -> torch.Tensor:
        """mean(map_c) + bias_c."""
        return F.linear(activations.mean((2, 3)), self.weight, self.bias)

    def summands(self, activations: torch.Tensor) -> Summands:
        """The activations with the weights and biases of the linear layer."""
        return Summands(first_in_numpy(activations), *self._in_numpy)

    @cached_property
    def _in_numpy(self) -> tuple[Float32, Float32]:
        return self.weight.float().cpu().numpy(), self.bias.float().cpu().numpy()


class ClassMapHead(Head):
    """The activations are the class map: channel c belongs to class c, and its mean is the logit.

    rectified: a ReLU comes before the average (SqueezeNet): S_c = mean ReLU(A_c).
    """

    kind = HeadKind.CLASS_MAP

    def __init__(self, module: nn.Module, *, rectified: bool) -> None:
        super().__init__(module)
        self.rectified = rectified

    def gradients(self, activations: torch.Tensor, target: TargetFunction, carried: Carried = ()) -> torch.Tensor:
        """dT/dS_c / (h w), and 0 where the ReLU gives 0."""
        per_channel = by_logit(self.logits(activations, carried), target) / _cells(activations)
        spread = per_channel[:, :, None, None].expand_as(activations)
        return torch.where(activations > 0, spread, 0) if self.rectified else spread

    def channel_weights(self, activations: torch.Tensor, logits: torch.Tensor, target: TargetFunction) -> torch.Tensor:
        """dT/dS, because channels are classes."""
        return by_logit(logits, target)

    def class_maps(self, activations: torch.Tensor) -> torch.Tensor:
        """The activations themselves, bias included."""
        return activations

    def accounted(self, activations: torch.Tensor) -> torch.Tensor:
        """mean(ReLU(map_c)), or mean(map_c) if the head has no ReLU."""
        return (activations.clamp(min=0) if self.rectified else activations).mean((2, 3))

    def summands(self, activations: torch.Tensor) -> Summands:
        """The class maps, after the ReLU if the head has one; no bias."""
        values = first_in_numpy(activations)
        return Summands(np.maximum(values, 0) if self.rectified else values, None, np.zeros(len(values), np.float32))


def autograd_gradients(
    module: nn.Module, activations: torch.Tensor, target: TargetFunction, carried: Carried = ()
) -> torch.Tensor:
    """d target / d activations (N, K, h, w) by autograd through the head. Raises OptionError if torch cannot do it."""
    return gradients(lambda leaf: target(module(leaf[0], *carried)).sum(), [activations])[0]


def by_logit(logits: torch.Tensor, target: TargetFunction) -> torch.Tensor:
    """dT/dS, (N, C): from the target's own terms, or by autograd."""
    terms = _terms_of(target)
    if terms is not None:
        slopes = torch.zeros_like(logits)
        for index, factor in terms:
            slopes[:, index] += factor
        return slopes
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(target(leaf).sum(), leaf)
    return slopes


def _terms_of(target: TargetFunction) -> tuple[tuple[int, float], ...] | None:
    """`Target.terms`, if there are few; None for other functions."""
    terms: tuple[tuple[int, float], ...] | None = getattr(target, "terms", None)
    return None if terms is None or len(terms) > _FEW else terms


def first_in_numpy(activations: torch.Tensor) -> Float32:
    """The first of (N, K, h, w), float32 (K, h, w)."""
    values: Float32 = activations[0].float().contiguous().cpu().numpy()
    return values


def _cells(activations: torch.Tensor) -> int:
    return activations.shape[-2] * activations.shape[-1]
