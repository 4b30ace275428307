"""Compute one metric of one explanation, by the metric's entry in the registry."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from camserve.catalogue.metric import Asks, Metric
from camserve.catalogue.metrics import find_metric
from camserve.metrics.heat import Float, Mask
from camserve.metrics.randomisation import MapsOf
from camserve.metrics.subject import Subject


def function_of(metric: Metric) -> Callable[..., Any]:
    """Return the function of an entry of the registry."""
    module, name = metric.function.split(".")
    found: Callable[..., Any] = getattr(import_module(f"camserve.metrics.{module}"), name)
    return found


def measure(
    metric: Metric | str,
    subject: Subject | None = None,
    *,
    heat: Float | None = None,
    inside: Mask | None = None,
    found: Float | None = None,
    maps_of: MapsOf | None = None,
    stages: int = 0,
) -> float | None:
    """Return the value of `metric`; None if an argument that it needs is missing, or if it has no value for this map.

    heat: (H, W); default the subject's. inside: bool (H, W), where the object is; in a mosaic, the class's own cell.
    found: the raw map (h, w); default the subject's. maps_of, stages: the maps that `found` is compared with, one for
    each depth of random weights or for each class, in the shape of `found`. Raises OptionError.
    """
    metric = find_metric(metric) if isinstance(metric, str) else metric
    heat = subject.heat if heat is None and subject is not None else heat
    found = subject.map if found is None and subject is not None else found
    given: dict[Asks, tuple[Any, ...]] = {
        Asks.HEAT: (heat,),
        Asks.MASK: (heat, inside),
        Asks.IMAGES: (heat, inside),
        Asks.SUBJECT: (subject,),
        Asks.WEIGHTS: (found, maps_of, stages),
        Asks.CLASSES: (found, maps_of, stages),
    }
    arguments = given[metric.asks]
    if any(one is None for one in arguments):
        return None
    value = function_of(metric)(*arguments)
    return None if value is None else float(value)
