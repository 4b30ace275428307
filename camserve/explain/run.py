"""How an explanation is computed: on which workers, until when, and with which progress function."""

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
    """workers: the pool that computes; None: the model's. deadline: seconds to wait for the result; None: no limit.

    progress: a function of (forward passes done, in all). Methods with many forward passes call it on the thread that
    computes; an error that it raises ends the work and is raised to the caller. forward: the function that runs a
    layer's network, such as a cache of its results.
    """

    workers: pool.Pool | None = None
    deadline: float | None = None
    progress: Progress | None = None
    forward: "Forward" = observe_layer


def timed(workers: pool.Pool, timing: Timing, progress: Progress | None = None) -> Run:
    """Return a run on `workers` that is timed as the steps "queue", "forward" and "method"."""
    return Run(TimedPool(workers, timing), progress=progress, forward=partial(observed, timing=timing))


def observed(layer: "Layer | Closed", images: Any, timing: Timing) -> Any:
    """`layer.observe(images)`, timed as the step "forward"."""
    with timing("forward"):
        return layer.observe(images)
