"""Does the service hold under load, and with faults?

    python benchmarks/load.py [--seconds 60] [--only overload,slow,vanish,term,kill,soak] [--soak-minutes 20]

Starts `camserve serve` for each part, makes its own requests, of which no two are alike, and prints what was promised
and what was measured; OUT.md has it to read, OUT.json with numbers in full. Ends with 1 where a promise is broken. The
clients run on the same cores. Parts:

    overload  4 times as many requests as can be answered: each is answered, or refused with 429 at once
    slow      64 clients that send a byte now and then, of the body or of the head
    vanish    clients that are gone before their answer
    term      SIGTERM at twice the capacity
    kill      kill -9 of the worker process
    soak      minutes of everything: what does the process hold at the end?
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults import kill, term, vanish
from measuring import Results
from overload import overload, slow
from page import as_json, as_markdown, circumstances
from soak import soak

PARTS: dict[str, Callable[[float], Results]] = {
    "overload": overload, "slow": slow, "vanish": vanish, "term": term, "kill": kill, "soak": soak
}  # fmt: skip


def main() -> None:
    """Measure the parts asked for, and say whether all promises are kept."""
    options = parsed()
    facts = {"command": shlex.join(["python", *sys.argv]), "quick": False, **circumstances()}
    parts: dict[str, dict[str, Any]] = {}
    for name in options.only:
        print(f"== {name}: {PARTS[name].__doc__}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        results = PARTS[name](options.soak_minutes if name == "soak" else options.seconds)
        took = round(time.perf_counter() - start, 1)
        parts[name] = {"about": PARTS[name].__doc__, "results": results, "seconds": took}
    page = as_markdown(facts, parts, "The service under load")
    options.out.with_suffix(".md").write_text(page, encoding="utf-8")
    options.out.with_suffix(".json").write_text(as_json(facts, parts), encoding="utf-8")
    print(page)
    broken = [aim.what for part in parts.values() for aim in part["results"].aims if not aim.reached]
    if broken:
        sys.exit(f"not as promised: {'; '.join(broken)}")


def parsed() -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, default=60, help="of each part but the soak (default: %(default)s)")
    made.add_argument("--only", type=chosen, default=list(PARTS), metavar="PARTS", help="separated by commas")
    made.add_argument("--soak-minutes", type=float, default=20, help="default: %(default)s")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "load", help="default: %(default)s.md, .json")
    return made.parse_args()


def chosen(text: str) -> list[str]:
    """Names of parts separated by commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    main()
