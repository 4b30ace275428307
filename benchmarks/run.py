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

Each is also a program of its own, such as `python benchmarks/cost.py`, with the same options.
"""

import argparse
import shlex
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from measuring import Skipped
from page import as_json, as_markdown, circumstances
from program import parser, plan_of, shown
from subjects import Plan

PARTS = {
    "a": "cost", "b": "peers", "c": "service", "d": "folders", "e": "neighbour", "f": "memory", "g": "growth",
    "h": "methods", "i": "startup",
}  # fmt: skip


def main() -> None:
    """Measure the parts asked for; what one finds is written before the next begins."""
    made = parser(__doc__)
    made.add_argument("--only", type=chosen, default=list(PARTS.values()), metavar="PARTS", help="such as a,b or cost")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="default: %(default)s")
    options = made.parse_args()
    facts = {"command": shlex.join(["python", *sys.argv]), "quick": options.quick, **circumstances()}
    parts: dict[str, dict[str, Any]] = {}
    for name in options.only:
        parts[name] = one_part(name, plan_of(options))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(as_json(facts, parts), encoding="utf-8")
        options.out.with_suffix(".md").write_text(as_markdown(facts, parts), encoding="utf-8")
    failed = [name for name, part in parts.items() if "failed" in part]
    print(f"\nwritten: {options.out.with_suffix('.md')} and .json")
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


def one_part(name: str, plan: Plan) -> dict[str, Any]:
    """What a part is about, how long it took, and what it found or why it was left out."""
    module = import_module(name)
    print(f"\n== {name}: {module.__doc__.splitlines()[0]}", flush=True)
    start, part = time.perf_counter(), {"about": module.__doc__}
    try:
        part["results"] = shown(module.measure(plan))
    except Skipped as reason:
        print(f"left out: {reason}")
        part["skipped"] = str(reason)
    except Exception as error:  # the other parts took long, and are worth having
        traceback.print_exc()
        part["failed"] = part["skipped"] = f"{type(error).__name__}: {error}"
    return {**part, "seconds": round(time.perf_counter() - start, 1)}


if __name__ == "__main__":
    main()
