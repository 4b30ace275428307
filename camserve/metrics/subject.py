"""What metrics ask about: one explained input, its map, and what the model says of changed inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from camserve.errors import OptionError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Of insertion and deletion, as in RISE's paper.
STEPS = 224
# Inputs (M, c, H, W) -> one number each, (M,)
Asked = Callable[[Float32], Float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """One explained input.

    images: float32 (1, c, H, W), the network's input, to be read only; 0 is the mean colour it was trained on. map:
    float32 (h, w), raw and signed. heat: float32 (H, W), the map laid over the input by the true places of its cells,
    raw and signed too. score: the explained class's probability, 0..1; of a difference a-b that of a where only a and b
    are possible; of "-a" one less that of a; of any other target `value`. value: the target itself, such as a logit.
    explain: the map of other inputs, (1, c, H, W) -> (H, W), of the same target by the same method and layer; None
    where the map is made of several passes or layers. batch: how many inputs may be run at once. bias: what the map's
    mean and this add up to is `value`; None where the map is not in logits.
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
        """`score` of the input as it is."""
        return float(self.score(self.images)[0])

    @property
    def positive(self) -> Float32:
        """The heat's positive part, (H, W)."""
        return np.maximum(self.heat, 0)

    def heat_of(self, images: Float32) -> Float32:
        """`explain`. Raises OptionError where there is none."""
        if self.explain is None:
            raise OptionError(
                "this metric explains changed inputs, and a map of several sizes or layers takes too long for that: "
                "leave sharp out and name one layer"
            )
        return self.explain(images)

    def in_batches(self, asked: Asked, images: Float32) -> Float64:
        """`asked` of any number of inputs (M, c, H, W), at most `batch` at once: (M,)."""
        parts = [asked(images[first : first + self.batch]) for first in range(0, len(images), self.batch)]
        return np.concatenate([np.empty(0), *parts])
