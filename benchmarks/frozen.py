"""Do two checkouts give the same explanations, bit for bit, in Python, on the command line and over HTTP?

    python benchmarks/frozen.py OLD NEW [--only layercam]

Two dozen explanations, batches, lists and errors from Python, the command line and a real server are compared: maps,
logits, scores, pixels, files, JSON and texts, but not versions, durations and paths. The exit status is 1 if anything
differs.
"""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from frozen_cases import write_networks, write_pictures
from trees import check, environment, parser

Record = dict[tuple[str, str], Any]
ENGINES = ("auto", "torch")
SHOWN = 4


def record(tree: Path, folder: Path, engine: str, only: str) -> Record:
    """Return the record of `frozen_record.py` in a checkout. folder: for its files."""
    folder.mkdir(parents=True)
    check(tree, folder)
    more = {"models_folders": str(folder / "models"), "compute_engine": engine, "serve_deadline_seconds": "600"}
    words = [sys.executable, str(Path(__file__).parent / "frozen_record.py"), engine, "record.pickle", only]
    subprocess.run(words, env=environment(tree, folder, **more), cwd=folder, check=True)
    found: Record = pickle.loads((folder / "record.pickle").read_bytes())
    return {(door, f"{name} ({engine})"): answer for (door, name), answer in found.items()}


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield as text where two answers differ; numbers are equal if all their bits are equal."""
    if type(old) is not type(new):
        yield f"{where}: {type(old).__name__} {old!r:.60} / {type(new).__name__} {new!r:.60}"
    elif isinstance(old, dict):
        for key in sorted({*old, *new}, key=str):
            if key in old and key in new:
                yield from differences(old[key], new[key], f"{where}.{key}")
            else:
                yield f"{where}.{key}: only in {'OLD' if key in old else 'NEW'}"
        if old.keys() == new.keys() and list(old) != list(new):
            yield f"{where}: the same keys in another order"
    elif isinstance(old, list | tuple):
        if len(old) != len(new):
            yield f"{where}: {len(old)} / {len(new)} entries"
        for number, pair in enumerate(zip(old, new, strict=False)):
            yield from differences(*pair, f"{where}[{number}]")
    elif isinstance(old, np.ndarray):
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            yield f"{where}: {old.dtype} {old.shape} / {new.dtype} {new.shape}"
        elif old.tobytes() != new.tobytes():
            far = np.nan_to_num(np.abs(old.astype(float) - new.astype(float)))
            yield f"{where}: {np.count_nonzero(far)} of {old.size} numbers, by up to {far.max():.3g}"
    elif isinstance(old, bytes | str) and old != new:
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        yield f"{where}: from {at} of {len(old)} on: {old[at : at + 40]!r} / {new[at : at + 40]!r}"
    elif repr(old) != repr(new):
        yield f"{where}: {old!r} / {new!r}"


def compared(old: Record, new: Record) -> int:
    """Print a line for each answer, and below it where it differs. Returns how many differ."""
    count = 0
    for door, name in dict.fromkeys([*old, *new]):
        pair = [{"answer": one[door, name]} if (door, name) in one else {} for one in (old, new)]
        found = [where.removeprefix(".answer.") for where in differences(*pair)]
        count += bool(found)
        print(f"{door:8} {name:40} {f'DIFFERENT in {len(found)} places' if found else 'equal'}")
        for where in found[:SHOWN]:
            print(f"         {where}", flush=True)
    print(f"{len(old)} answers, {count} different")
    return count


def main() -> None:
    taken = parser(__doc__)
    taken.add_argument("--only", default="", metavar="WORDS", help="what has them in its name, such as layercam")
    options = taken.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures")
        write_networks(folder)
        found: tuple[Record, Record] = ({}, {})
        trees = {"old": options.old, "new": options.new}
        for engine in ENGINES:
            with ThreadPoolExecutor(2) as both:
                made = [
                    both.submit(record, tree, folder / side / engine, engine, options.only)
                    for side, tree in trees.items()
                ]
            for known, more in zip(found, made, strict=True):
                known.update(more.result())
        sys.exit(compared(*found) > 0)


if __name__ == "__main__":
    main()
