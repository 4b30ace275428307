"""What one observation of a model gives a method."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from camserve.heads import Head, TargetFunction


@dataclass(frozen=True)
class Evidence:
    """Activations of a layer, and what can be asked about the head behind it.

    activations: (N, K, h, w), to be read only. head: what turns them into logits.
    target: the scalar to explain, a function of logits (N, C) -> (N,). carried: see `camserve.cut.Cut`.
    """

    activations: torch.Tensor
    head: Head
    target: TargetFunction
    carried: tuple[Any, ...] = ()

    @cached_property
    def logits(self) -> torch.Tensor:
        """What the model answers, (N, C)."""
        return self.head.logits(self.activations, self.carried)

    @cached_property
    def gradients(self) -> torch.Tensor:
        """d target / d activations, (N, K, h, w), in closed form where the head is linear."""
        return self.head.gradients(self.activations, self.target, self.carried)

    @cached_property
    def class_weights(self) -> torch.Tensor:
        """What each channel weighs in the target's class map, (N, K). Raises OptionError where there is none."""
        return self.head.channel_weights(self.logits, self.target)
