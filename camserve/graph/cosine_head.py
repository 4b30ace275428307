"""A head of cosines between an image's feature and each class, as in models that compare images with sentences.

The gradient of a cosine is orthogonal to the feature. So if the feature is linear in the activations, a map from this
gradient sums to zero. With the length |f| held fixed, the logit is linear in f, and maps add up to it.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from camserve.catalogue.head_kinds import HeadKind
from camserve.errors import OptionError
from camserve.graph.heads import Carried, Head, LinearHead, Summands, TargetFunction, by_logit, first_in_numpy


class CosineHead(Head):
    """A feature f, and its cosine with each class: S = weight @ f / |f| + bias.

    feature: a head whose D outputs are f (N, D). weight: (C, D); the length of a row is the factor of the cosine.
    bias: (C,). Gradients hold the length |f| of each image fixed, because the gradient of a cosine is orthogonal to f.
    If the feature is a mean and a matrix, f = F mean(A) + g, there are class maps: weight F A / |f|.
    """

    def __init__(self, feature: Head, weight: Tensor, bias: Tensor) -> None:
        super().__init__(_Cosines(feature.module, weight, bias))
        self.feature, self.weight, self.bias = feature, weight, bias

    @property
    def kind(self) -> HeadKind:  # type: ignore[override]
        """COSINE if the feature is linear, else the kind of the feature's head."""
        return HeadKind.COSINE if isinstance(self.feature, LinearHead) else self.feature.kind

    def read(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C)."""
        return F.linear(F.normalize(features), self.weight, self.bias)

    def logits(self, activations: Tensor, carried: Carried = ()) -> Tensor:
        """(N, K, h, w) -> (N, C), without autograd."""
        return self.read(self.feature.logits(activations, carried))

    def gradients(self, activations: Tensor, target: TargetFunction, carried: Carried = ()) -> Tensor:
        """dT/dS weight / |f|, differentiated through the feature."""
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
        """The logits as sums of the class maps and biases, (N, C); None without class maps."""
        if not isinstance(self.feature, LinearHead):
            return None
        added = F.linear(activations.mean((2, 3)), self.weight @ self.feature.weight, self.weight @ self.feature.bias)
        return added / self._lengths(activations) + self.bias

    def summands(self, activations: Tensor) -> Summands | None:
        """The activations, with this image's weights."""
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
    """(N, D) -> (N, 1), never 0, as in F.normalize."""
    lengths: Tensor = features.norm(dim=1, keepdim=True)
    return lengths.clamp_min(1e-12)
