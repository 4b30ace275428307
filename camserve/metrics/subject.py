"""What metrics measure: one explained input, its map, and the model's score of changed inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from camserve.errors import OptionError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Steps of insertion and deletion, as in RISE's paper.
STEPS = 224
# Inputs (M, c, H, W) -> one number each, (M,)
Asked = Callable[[Float32], Float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """One explained input.

    images: float32 (1, c, H, W), the network's input, read only; 0 is the mean colour of its training images. map:
    float32 (h, w), raw and signed. heat: float32 (H, W), the map laid over the input with each cell at its true place,
    raw and signed. score: the explained class's probability, 0..1; for a difference a-b the probability of a if only a
    and b are possible; for "-a" 1 minus the probability of a; for any other target `value`. value: the target itself,
    such as a logit. explain: makes the heat of other inputs, (1, c, H, W) -> (H, W), with the same target, method and
    layer; None if the map comes from several passes or layers. batch: how many inputs may run at once. steps: of
    insertion and deletion. bias: the map's mean plus this bias is `value`; None if the map is not in logits.
    """

    images: Float32
    map: Float32
    heat: Float32
    score: Asked
    value: Asked
    explain: Callable[[Float32], Float32] | None = field(default=None, repr=False)
    batch: int = 16
    steps: int = STEPS
    bias: float | None = None

    @cached_property
    def own_score(self) -> float:
        """`score` of the unchanged input."""
        return float(self.score(self.images)[0])

    @property
    def positive(self) -> Float32:
        """The positive part of the heat, (H, W)."""
        return np.maximum(self.heat, 0)

    def heat_of(self, images: Float32) -> Float32:
        """Return the heat of other inputs. Raises OptionError without `explain`."""
        if self.explain is None:
            raise OptionError(
                "this metric explains changed inputs, and a map of several sizes or layers takes too long for that: "
                "leave sharp out and name one layer"
            )
        return self.explain(images)

    def in_batches(self, asked: Asked, images: Float32) -> Float64:
        """Call `asked` for any number of inputs (M, c, H, W), at most `batch` at once: (M,)."""
        parts = [asked(images[first : first + self.batch]) for first in range(0, len(images), self.batch)]
        return np.concatenate([np.empty(0), *parts])
