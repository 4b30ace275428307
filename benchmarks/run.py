"""Measure all parts, or some, and write one page of results.

    python benchmarks/run.py [--only cost,peers] [--quick] [--out benchmarks/results]

Writes OUT.md, a page to read, and OUT.json, the same with all digits: machine, versions, thread settings, and medians
with quartiles over interleaved repeats. Run it on an idle machine. Parts, by name or letter:

    a cost       one explanation and all classes, compared with the forward pass of the same engine
    b peers      compared with pytorch-grad-cam, torchcam, captum and openvino-xai
    c service    the HTTP service compared with Flask and pytorch-grad-cam
    d folders    the batch command compared with the engine alone
    e neighbour  a second process uses a core fully
    f memory     the peak memory of a photograph, and what stays afterwards
    g growth     by pixels, classes and models
    h methods    every method: forward passes and time, also of other libraries
    i startup    from the start of the process to the first answer
    j batching   images of equal shape in one batch, compared with one at a time
    k crowd      the HTTP service by clients and by cores
    l pairs      an earlier version, named with --old, compared with this one
    m shared_out idle workers help with one explanation
    n choices    settings that save time for something else

Each part is also a program, such as `python benchmarks/cost.py`, with the same options.
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
    "h": "methods", "i": "startup", "j": "batching", "k": "crowd", "l": "pairs", "m": "shared_out", "n": "choices",
}  # fmt: skip


def main() -> None:
    """Measure the chosen parts; the results of each part are written before the next part starts."""
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
    """Parse names or letters of parts separated by commas, and return names."""
    names = [PARTS.get(word, word) for word in text.split(",")]
    unknown = [name for name in names if name not in PARTS.values()]
    if unknown:
        known = ", ".join(f"{letter} or {name}" for letter, name in PARTS.items())
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; there are {known}")
    return names


def measured(name: str, plan: Plan) -> dict[str, Any]:
    """Run a part; return its docstring, its time, and its results or why it was left out."""
    module = import_module(name)
    return one_part(name, module.__doc__, lambda: module.measure(plan))


if __name__ == "__main__":
    main()
