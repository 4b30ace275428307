"""How an explanation is computed, whatever is explained: where, until when, and who is told."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from camserve.catalogue.method import Progress
from camserve.system import workers as pool
from camserve.system.timing import TimedPool, Timing

if TYPE_CHECKING:
    import torch

    from camserve.graph.heads import Carried
    from camserve.models.compiled.closed import Closed
    from camserve.models.layer import Layer

Observed: TypeAlias = "tuple[torch.Tensor, Carried, torch.Tensor]"
# `observe` of a Layer, from tensors to Observed, or of a Closed, from an array to arrays
Forward: TypeAlias = "Callable[[Layer | Closed, Any], Any]"


def observe_layer(layer: "Layer | Closed", images: Any) -> Any:
    """`layer.observe(images)`."""
    return layer.observe(images)


@dataclass(frozen=True)
class Run:
    """workers: the pool to compute on; None: the process's. deadline: the seconds to wait for it; None: no end.

    progress: called with (forwards done, in all) by methods that run many, on the thread that computes; what it raises
    ends the work and is raised to who asked. forward: what runs a layer's network, such as a memory of it.
    """

    workers: pool.Pool | None = None
    deadline: float | None = None
    progress: Progress | None = None
    forward: "Forward" = observe_layer


def timed(workers: pool.Pool, timing: Timing, progress: Progress | None = None) -> Run:
    """A run on `workers`, timed as the steps "queue", "forward" and "method"."""
    return Run(TimedPool(workers, timing), progress=progress, forward=partial(observed, timing=timing))


def observed(layer: "Layer | Closed", images: Any, timing: Timing) -> Any:
    """`layer.observe(images)`, timed as the step "forward"."""
    with timing("forward"):
        return layer.observe(images)
