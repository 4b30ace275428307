"""Does `camserve batch` keep what it promises over many images: memory, speed, nothing lost, a page that answers?

    python benchmarks/batch_at_scale.py [--photos FOLDER] [--images 10000] [--kills 5] [--only run,report]

Makes images by varying the photographs of FOLDER (JPEG and PNG; default those of scikit-image): parts of them,
mirrored, with other light, size and quality; 3 % of the files are truncated, empty or not a picture. Then

    stages   what an image costs in CPU seconds, stage by stage, on one thread; of 300 images at most
    run      one undisturbed run: memory, images a second by tenths, the sizes of what it writes
    kills    another run, killed at random moments and resumed: the same results, byte for byte, and seconds lost
    report   the page of the first run in a real Chromium (playwright)
    passes   the passes over all images, with ten times the rows of the first run; and their page
    ray      at most 1,000 images on a local Ray with two actors, compared byte for byte with threads

Writes OUT.md and OUT.json as benchmarks/run.py does. The exit status is 1 if a promise is broken. --keep keeps the
images, the output of the batches and a picture of the page; the next run reuses the images of a kept folder.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from batch_passes import passes
from batch_runs import Case, kills, ray, run
from batch_stages import stages
from measuring import Results, Skipped
from program import chosen, failures, one_part, written
from report_page import report
from varied import write_varied

PARTS: dict[str, Callable[[Case], Results]] = {
    "stages": stages, "run": run, "kills": kills, "report": report, "passes": passes, "ray": ray,
}  # fmt: skip


def main() -> None:
    """Measure the chosen parts, and print which promises are broken."""
    options = parser().parse_args()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="camserve-scale-")))
        case = Case(folder, options.images, options.kills, options.model, options.keep is not None)
        print(f"making {case.images:,} images", flush=True)
        try:
            case.broken = write_varied(case.source, case.images, options.photos)
        except Skipped as reason:
            sys.exit(f"left out: {reason}")
        works = {
            name: partial(one_part, name, PARTS[name].__doc__, partial(PARTS[name], case)) for name in options.only
        }
        parts = written(options.out, works)
    broken = list(failures(parts))
    if broken:
        sys.exit(f"broken: {'; '.join(broken)}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--photos", type=Path, metavar="FOLDER", help="default: the photographs that scikit-image brings")
    made.add_argument("--images", type=int, default=10_000, help="default: %(default)s")
    made.add_argument("--kills", type=int, default=5, help="default: %(default)s")
    made.add_argument(
        "--only", type=partial(chosen, PARTS), default=list(PARTS), metavar="PARTS", help="such as run,kills"
    )
    made.add_argument("--model", default="efficientnet-lite0", help="a card (default: %(default)s)")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="keep everything there; default: nothing is kept")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "scale", help="default: %(default)s")
    return made


if __name__ == "__main__":
    main()
