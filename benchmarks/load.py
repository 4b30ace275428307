"""Does the service keep its promises under load and with faults?

    python benchmarks/load.py [--seconds 60] [--only overload,slow,vanish,term,kill] [--soak-minutes 20]

Starts `camserve serve` for each part, sends requests that are all different, and writes what was promised and what was
measured: OUT.md to read, OUT.json with all digits. The exit status is 1 if a promise is broken. The clients run on the
same cores. Parts:

    overload  4 times as many requests as can be answered: each is answered, or refused with 429 at once
    slow      64 clients that send the body or the head slowly, byte by byte
    vanish    clients that disconnect before their answer
    term      SIGTERM at twice the capacity
    kill      kill -9 of the worker process
    memory    the memory held 10 s after uploads of 50 megapixels, many sizes and slow readers
    readers   58 clients that read 24 MB at 40 kB a second
    dear      requests for minutes of work, together with cheap requests
    attack    all of that at once, and malformed requests
    inputs    faulty files and requests, all different
    soak      minutes of everything: how much memory does the process hold at the end?
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attack import attack
from dear import dear
from faults import kill, term, vanish
from inputs import inputs
from measuring import Results
from overload import overload, slow
from program import chosen, failures, one_part, written
from readers import readers
from returned import memory
from soak import soak

PARTS: dict[str, Callable[[float], Results]] = {
    "overload": overload, "slow": slow, "vanish": vanish, "term": term, "kill": kill, "memory": memory,
    "readers": readers, "dear": dear, "attack": attack, "inputs": inputs, "soak": soak,
}  # fmt: skip
SECONDS, LONGER = 60.0, {"attack": 120.0}


def main() -> None:
    """Measure the chosen parts, and print which promises are broken."""
    options = parsed()
    works = {
        name: partial(one_part, name, PARTS[name].__doc__, partial(PARTS[name], amount(name, options)))
        for name in options.only
    }
    broken = failures(written(options.out, works))
    if broken:
        sys.exit(f"not as promised: {'; '.join(broken)}")


def amount(name: str, options: argparse.Namespace) -> float:
    """Return how long a part takes, in seconds; for the soak in minutes."""
    if name == "soak":
        return float(options.soak_minutes)
    return float(options.seconds) if options.seconds else LONGER.get(name, SECONDS)


def parsed() -> argparse.Namespace:
    """Parse the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, help=f"of each part but the soak (default: {SECONDS:g}, attack 120)")
    made.add_argument(
        "--only", type=partial(chosen, PARTS), default=list(PARTS), metavar="PARTS", help="separated by commas"
    )
    made.add_argument("--soak-minutes", type=float, default=20, help="default: %(default)s")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "load", help="default: %(default)s.md, .json")
    return made.parse_args()


if __name__ == "__main__":
    main()
