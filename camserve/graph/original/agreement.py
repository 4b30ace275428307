"""The difference between two answers, relative to the spread of their values."""

import torch
from torch import Tensor

# Float32 sums of some thousand terms in another order agree to about 1e-5; ten times as much is a real difference.
TOLERANCE = 1e-4
# Share of the largest value that rounding can change; matters for values that are close, such as 1000.001 and 1000.002.
_ROUNDING = 4e-6


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the spread of `theirs`; 0 if rounding explains it.

    The result is inf if the shapes differ, or if NaN and infinities are not at the same places in both.
    """
    if ours.shape != theirs.shape or not torch.equal(_not_finite(ours), _not_finite(theirs)):
        return float("inf")
    finite = theirs.isfinite()
    ours, theirs = ours[finite].double(), theirs[finite].double()
    if not theirs.numel():
        return 0.0
    missing = float((ours - theirs).abs().max()) - _ROUNDING * float(theirs.abs().max())
    spread = float(theirs.max() - theirs.min()) or float(theirs.abs().max())
    if missing <= 0:
        return 0.0
    return missing / spread if spread else float("inf")


def _not_finite(value: Tensor) -> Tensor:
    """1 and -1 for the infinities, 2 for NaN, 0 for every other value."""
    return value.isposinf().int() - value.isneginf().int() + 2 * value.isnan().int()


def same(ours: Tensor | None, theirs: Tensor | None, tolerance: float = TOLERANCE) -> bool:
    """Whether two answers are equal except for rounding. None equals only None."""
    if ours is None or theirs is None:
        return ours is theirs
    return apart(ours, theirs) <= tolerance
