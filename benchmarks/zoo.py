"""Is camserve ever silently wrong? Every image classifier of transformers, 80 of torchvision, one per module of timm.

    python benchmarks/zoo.py [--library timm] [--only 'timm/vit*,*resnet*'] [--jobs 2]
    python benchmarks/zoo.py --quick               # 24 fast networks of every kind, as in continuous integration
    python benchmarks/zoo.py --wrong               # check again the networks that were not right
    python benchmarks/zoo.py --write               # write docs/networks.md from the results

Each network has random weights without zeros, and is checked in its own process within a time limit: logits are
compared with the module, the layer and its maps with plain autograd on the uncut module, class maps with the logits,
OpenVINO with torch; pictures of other shapes, legrad and attentionrollout are checked too. The verdict of a row is
right, refused (with camserve's message), WRONG, or not done in time; the exit status is 1 if a row has one of the last
two. Rows go to RESULTS, one JSON object per line, as they are found. A network in RESULTS is not checked again, except
with --again or --wrong.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from camserve.version import __version__

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "networks.md"
_BAD = ("WRONG", "not done")
# These modules are imported once, in the process from which all others are forked.
_PRELOADED = ["zoo_check", "timm", "torchvision", "transformers", "torch.export"]


def main() -> None:
    """Check the chosen networks, print each row, and end with 1 if a row is WRONG or not done."""
    options = _parser().parse_args()
    sys.path.insert(0, str(FOLDER))
    chosen = [name for name in names(options.library) if _is_chosen(name, options)]
    if not chosen and not options.write:
        sys.exit("no network of the zoo has such a name; patterns are as in a shell: 'timm/vit*'")
    rows = read(options.results)
    if options.write:
        from zoo_page import page

        PAGE.write_text(page([rows[name] for name in names(None) if name in rows]))
        return
    for row in run([name for name in chosen if _is_due(rows.get(name), options)], options.jobs, options.seconds):
        rows[full_name(row)] = row
        write_row(options.results, row)
        print(f"{full_name(row):60} {row['verdict']:8} {row['seconds']:6.1f} s  {row['words'][:300]}", flush=True)
    from zoo_page import counts

    found = [rows[name] for name in chosen if name in rows]
    print(", ".join(f"{count} {verdict}" for verdict, count in counts(found).items()))
    sys.exit(int(any(row["verdict"] in _BAD for row in found)))


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", metavar="PATTERNS", help="such as 'timm/vit*', several separated by commas")
    made.add_argument("--library", choices=["transformers", "torchvision", "timm"])
    made.add_argument("--quick", action="store_true", help="24 fast networks of every kind")
    made.add_argument("--again", action="store_true", help="also what has been checked")
    made.add_argument("--wrong", action="store_true", help="also what has been checked and is WRONG or not done")
    made.add_argument("--jobs", type=int, default=1, help="networks at a time, a core each; default: %(default)s")
    made.add_argument("--seconds", type=float, default=300, help="for one network; default: %(default)s")
    made.add_argument("--results", type=Path, default=Path("zoo.jsonl"), help="default: %(default)s")
    made.add_argument("--write", action="store_true", help="write docs/networks.md from RESULTS, and check nothing")
    return made


def names(library: str | None) -> list[str]:
    """Return the names of all networks, or of one library's, such as "timm/resnet18"."""
    from zoo_members import LIBRARIES, members

    return [f"{each.library}/{each.name}" for one in ([library] if library else LIBRARIES) for each in members(one)]


def _is_chosen(name: str, options: argparse.Namespace) -> bool:
    from zoo_members import QUICK

    patterns = options.only.split(",") if options.only else ["*"]
    return (not options.quick or name in QUICK) and any(fnmatch(name, pattern.strip()) for pattern in patterns)


def _is_due(row: dict[str, Any] | None, options: argparse.Namespace) -> bool:
    return row is None or options.again or (options.wrong and row["verdict"] in _BAD)


def run(chosen: list[str], jobs: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of networks as they are found, each from its own process that ends after `seconds` seconds."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)
    waiting, running = chosen[::-1], dict[Connection, tuple[str, Any, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            name, (mine, theirs) = waiting.pop(), processes.Pipe(duplex=False)
            process = processes.Process(target=check, args=(name, theirs))
            process.start()
            theirs.close()
            running[mine] = name, process, time.monotonic() + seconds
        ready = wait(list(running), timeout=0.5)
        for pipe, (name, process, end) in list(running.items()):
            if pipe in ready or time.monotonic() > end:
                del running[pipe]
                yield _result(name, pipe if pipe in ready else None, process, seconds)


def check(name: str, pipe: Connection) -> None:
    """Send the row of one network. Runs in its own process."""
    from zoo_check import checked
    from zoo_members import members

    library = name.partition("/")[0]
    (member,) = [each for each in members(library) if f"{library}/{each.name}" == name]
    try:
        pipe.send(checked(member))
    except Exception as error:  # an error of the zoo itself gives a row too
        pipe.send(_failed(name, f"the check itself fails: {type(error).__name__}: {error}"))


def _result(name: str, pipe: Connection | None, process: Any, seconds: float) -> dict[str, Any]:
    """Return the row that a process sent, or a row that says why it sent none."""
    try:
        if pipe is not None:
            row: dict[str, Any] = pipe.recv()
            process.join()
            return row
        process.kill()
        return _failed(name, f"not done after {seconds:g} s", "not done")
    except EOFError:
        process.join()
        words = f"the process ended with status {process.exitcode}"
        if process.exitcode == -signal.SIGKILL:
            return _failed(name, f"{words}: killed, as where memory does not suffice", "not done")
    process.kill()
    return _failed(name, words)


def _failed(name: str, words: str, verdict: str = "WRONG") -> dict[str, Any]:
    library, _, own = name.partition("/")
    return {"library": library, "name": own, "verdict": verdict, "words": words, "seconds": 0.0, "notes": []}


def full_name(row: dict[str, Any]) -> str:
    """Return the name as in `names`."""
    return f"{row['library']}/{row['name']}"


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Read {name: row} from RESULTS; the last row of a network counts."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {full_name(row): row for row in map(json.loads, lines)}


def write_row(file: Path, row: dict[str, Any]) -> None:
    """Append a row to RESULTS, with camserve's version."""
    with file.open("a") as opened:
        opened.write(json.dumps({**row, "camserve": __version__}) + "\n")


if __name__ == "__main__":
    main()
