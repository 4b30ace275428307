"""Measure everything, or some of it, and write one page of results.

    python benchmarks/run.py [--only cost,peers] [--quick] [--out benchmarks/results]

Writes OUT.md, a page to read, and OUT.json, the same with numbers in full: machine, versions, thread settings, and
medians with quartiles over interleaved repeats. Run it on a machine that has nothing else to do. Parts, by name or
letter:

    a cost       one explanation and all classes against the forward pass of the same engine
    b peers      against pytorch-grad-cam, torchcam, captum and openvino-xai
    c service    the HTTP service against Flask with pytorch-grad-cam
    d folders    the batch command against the engine alone
    e neighbour  a second process that hogs a core
    f memory     what a photograph needs at its peak, and what is left of it
    g growth     by pixels, classes and models
    h methods    every method: forwards and time, beside the same of other libraries
    i startup    from nothing to the first answer
    j batching   images of equal shape run together, against one at a time
    k crowd      the HTTP service by clients and by cores

Each is also a program of its own, such as `python benchmarks/cost.py`, with the same options.
"""

import argparse
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from program import one_part, parser, plan_of, written
from subjects import Plan

PARTS = {
    "a": "cost", "b": "peers", "c": "service", "d": "folders", "e": "neighbour", "f": "memory", "g": "growth",
    "h": "methods", "i": "startup", "j": "batching", "k": "crowd",
}  # fmt: skip


def main() -> None:
    """Measure the parts asked for; what one finds is written before the next begins."""
    made = parser(__doc__)
    made.add_argument("--only", type=chosen, default=list(PARTS.values()), metavar="PARTS", help="such as a,b or cost")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="default: %(default)s")
    options = made.parse_args()
    plan = plan_of(options)
    works = {name: partial(measured, name, plan) for name in options.only}
    parts = written(options.out, works, quick=options.quick)
    failed = [name for name, part in parts.items() if "failed" in part]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what they said stands above")


def chosen(text: str) -> list[str]:
    """Names of parts from names or letters separated by commas."""
    names = [PARTS.get(word, word) for word in text.split(",")]
    unknown = [name for name in names if name not in PARTS.values()]
    if unknown:
        known = ", ".join(f"{letter} or {name}" for letter, name in PARTS.items())
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; there are {known}")
    return names


def measured(name: str, plan: Plan) -> dict[str, Any]:
    """What a part is about, how long it took, and what it found or why it was left out."""
    module = import_module(name)
    return one_part(name, module.__doc__, lambda: module.measure(plan))


if __name__ == "__main__":
    main()
