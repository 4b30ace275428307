"""A head of cosines: how like a feature of the image is to each class, as in models that compare images with sentences.

The gradient of a cosine is orthogonal to the feature, so what activations add to it cancels out: a map of it sums to
zero wherever the feature is linear in them. Held fixed, the length |f| leaves a logit that is linear in f.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from camserve.catalogue.head_kinds import HeadKind
from camserve.errors import OptionError
from camserve.graph.heads import Carried, Head, LinearHead, Summands, TargetFunction, by_logit, first_in_numpy


class CosineHead(Head):
    """A feature f, and the cosine of it with each class: S = weight @ f / |f| + bias.

    feature: what makes f (N, D) of the activations, as a head of D classes. weight: (C, D), as long as the cosine is
    multiplied by; bias: (C,). Gradients hold the length |f| of each image fixed: that of a cosine is orthogonal to f.
    Where the feature is a mean and a matrix, f = F mean(A) + g, there are class maps: weight F A / |f|.
    """

    def __init__(self, feature: Head, weight: Tensor, bias: Tensor) -> None:
        super().__init__(_Cosines(feature.module, weight, bias))
        self.feature, self.weight, self.bias = feature, weight, bias

    @property
    def kind(self) -> HeadKind:  # type: ignore[override]
        """As of the feature."""
        return HeadKind.COSINE if isinstance(self.feature, LinearHead) else self.feature.kind

    def read(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C)."""
        return F.linear(F.normalize(features), self.weight, self.bias)

    def logits(self, activations: Tensor, carried: Carried = ()) -> Tensor:
        """(N, K, h, w) -> (N, C), without autograd."""
        return self.read(self.feature.logits(activations, carried))

    def gradients(self, activations: Tensor, target: TargetFunction, carried: Carried = ()) -> Tensor:
        """dT/dS weight / |f|, through the feature."""
        features = self.feature.logits(activations, carried)
        along = self._along(features, self.read(features), target)
        return self.feature.gradients(activations, lambda other: (other * along).sum(1), carried)

    def channel_weights(self, activations: Tensor, logits: Tensor, target: TargetFunction) -> Tensor:
        """dT/dS weight F / |f|."""
        feature = self._linear()
        return self._along(self._features(activations), logits, target) @ feature.weight

    def class_maps(self, activations: Tensor) -> Tensor:
        """weight F A / |f|. mean(map_c) + weight_c g / |f| + bias_c = logit_c."""
        weight = (self.weight @ self._linear().weight)[:, :, None, None]
        return F.conv2d(activations, weight) / self._lengths(activations)[:, :, None, None]

    def accounted(self, activations: Tensor) -> Tensor | None:
        """What the class maps add up to, with the biases."""
        if not isinstance(self.feature, LinearHead):
            return None
        added = F.linear(activations.mean((2, 3)), self.weight @ self.feature.weight, self.weight @ self.feature.bias)
        return added / self._lengths(activations) + self.bias

    def summands(self, activations: Tensor) -> Summands | None:
        """The activations, weighted as in this image."""
        if not isinstance(self.feature, LinearHead):
            return None
        weight = self.weight / self._lengths(activations)
        bias = weight @ self.feature.bias + self.bias
        parts = (part.float().cpu().numpy() for part in (weight @ self.feature.weight, bias))
        return Summands(first_in_numpy(activations), *parts)

    def _along(self, features: Tensor, logits: Tensor, target: TargetFunction) -> Tensor:
        """dT/df with |f| held fixed, (N, D)."""
        return by_logit(logits, target) @ self.weight / _lengths(features)

    def _linear(self) -> LinearHead:
        if not isinstance(self.feature, LinearHead):
            raise OptionError(self._no_map())
        return self.feature

    def _features(self, activations: Tensor) -> Tensor:
        return F.linear(activations.mean((2, 3)), self._linear().weight, self._linear().bias)

    def _lengths(self, activations: Tensor) -> Tensor:
        return _lengths(self._features(activations))


class _Cosines(nn.Module):
    """(activations, *carried) -> logits."""

    weight: Tensor
    bias: Tensor

    def __init__(self, feature: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.feature = feature
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, activations: Tensor, *carried: Any) -> Tensor:
        """(N, K, h, w) -> (N, C)."""
        return F.linear(F.normalize(self.feature(activations, *carried)), self.weight, self.bias)


def _lengths(features: Tensor) -> Tensor:
    """(N, D) -> (N, 1), nowhere 0, as F.normalize has it."""
    lengths: Tensor = features.norm(dim=1, keepdim=True)
    return lengths.clamp_min(1e-12)
