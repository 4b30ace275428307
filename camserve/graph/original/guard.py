"""Check every network that was made from the user's network: folded, cut, dilated, converted, in another precision.

Each of these steps can change the answer without an error. So each result gets the same test images as the user's
module, at sizes with different remainders for every stride, and must give the same answers.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from camserve.errors import first_line
from camserve.graph.original.agreement import TOLERANCE, apart
from camserve.graph.original.given import Given, Probe
from camserve.graph.original.state import same_chance

Run = Callable[[Tensor], Tensor]


def difference(given: Given, run: Run, *, sizes: int | None = None, tolerance: float = TOLERANCE) -> str:
    """A sentence that says how `run`, images -> logits, differs from the given network; "" if it does not.

    sizes: how many sizes to test, the training size first; None: all. tolerance: a share of the spread of the logits.
    """
    probes = given.probes[:sizes]
    return next((reason for reason in _differences(probes, run, tolerance) if reason), "")


def _differences(probes: Iterable[Probe], run: Run, tolerance: float) -> Iterable[str]:
    for probe in probes:
        if probe.logits is not None:  # nothing to compare with if the given network itself fails
            yield _difference(probe, probe.logits, run, tolerance)


def _difference(probe: Probe, expected: Tensor, run: Run, tolerance: float) -> str:
    where = "at {} x {} pixels".format(*probe.size)
    try:
        with torch.no_grad(), same_chance():
            answer = run(probe.images)
    except Exception as error:  # a network may raise anything
        reason = first_line(error)
        return f"{where} it fails: {reason}"
    missing = apart(answer.to(expected), expected)
    return f"{where} its logits differ by {missing:.2g} of their spread" if missing > tolerance else ""
