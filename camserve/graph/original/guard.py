"""Whether what was made of a network is still that network: nothing that was made of one runs unchecked.

Folded, cut, dilated, converted, in another precision: each can change the answer without a word. So each is asked what
the module as it was given was asked, at sizes that every stride divides otherwise, and must answer the same.
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
    """Why `run`, images -> logits, is not the network that was given, in words; "" where it is.

    sizes: ask at so many, the size trained at first; None: at all. tolerance: as a share of the spread of the logits.
    """
    probes = given.probes[:sizes]
    return next((reason for reason in _differences(probes, run, tolerance) if reason), "")


def _differences(probes: Iterable[Probe], run: Run, tolerance: float) -> Iterable[str]:
    for probe in probes:
        if probe.logits is not None:  # where the network itself fails, another may do as it likes
            yield _difference(probe, probe.logits, run, tolerance)


def _difference(probe: Probe, expected: Tensor, run: Run, tolerance: float) -> str:
    where = "at {} x {} pixels".format(*probe.size)
    try:
        with torch.no_grad(), same_chance():
            answer = run(probe.images)
    except Exception as error:  # whatever a network raises
        reason = first_line(error)
        return f"{where} it fails: {reason}"
    missing = apart(answer.to(expected), expected)
    return f"{where} its logits differ by {missing:.2g} of their spread" if missing > tolerance else ""
