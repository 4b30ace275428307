"""How much time do idle workers save for a method with many forward passes?

    python benchmarks/shared_out.py [--rounds 5] [--methods rise,scorecam,occlusion,integratedgradients]

Wall and CPU seconds for one explanation of a photograph, alternately with one worker and with two, one intra-op thread
each; and whether the maps have the same bits.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from measuring import Aim, Results, Row, Skipped, Table
from program import print_table
from subjects import PHOTO, Plan, cache_folder

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.config import load_settings
from camserve.explain.pipeline import explain
from camserve.explain.run import Run
from camserve.system.workers import Workers

METHODS = ("rise", "scorecam", "occlusion", "integratedgradients")


def measure(plan: Plan) -> Results:
    """A row for each method. OpenVINO only."""
    if "openvino" not in plan.engines:
        raise Skipped("OpenVINO is not installed or not chosen")
    rows = compared(METHODS[: plan.choose(len(METHODS), 1)], plan.choose(3, 1), PHOTO)
    aims = [Aim(f"{row['method']}: waiting with two workers, times one", row["waiting, ratio"], 0.5)
            for row in rows if row["method"] in ("rise", "scorecam")]  # fmt: skip
    return Results([Table("one worker and two", rows)], aims)


def compared(methods: Sequence[str], rounds: int, photo: Path) -> list[Row]:
    """Medians, and the ratios of pairs."""
    compute = {"cache": cache_folder(), "threads": 1, "workers": 2, "engine": "openvino"}
    model = camserve.load(settings=load_settings(environ={}, overrides={"compute": compute}))
    pools = {count: Workers(count, 1) for count in (1, 2)}
    rows = []
    for method in methods:
        took: dict[int, list[tuple[float, float]]] = {count: [] for count in pools}
        maps = {}
        for number in range(rounds):
            for count in list(pools)[:: 1 if number % 2 else -1]:
                start, cpu = time.perf_counter(), time.process_time()
                maps[count] = explain(model, photo, None, ExplainOptions(method=method), Run(pools[count])).map
                took[count].append((time.perf_counter() - start, time.process_time() - cpu))
        row: Row = {"method": method}
        for place, what in enumerate(("waiting", "CPU")):
            one, two = ([each[place] for each in took[count]] for count in pools)
            ratio = median(b / a for a, b in zip(one, two, strict=True))
            row |= {f"{what}, s": median(one), f"{what} with two, s": median(two), f"{what}, ratio": ratio}
        rows.append(row | {"same bits": bool(np.array_equal(maps[1], maps[2]))})
        print(rows[-1], flush=True)
    for pool in pools.values():
        pool.close()
    return rows


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--photo", type=Path, default=PHOTO)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print_table(Table("one worker and two", compared(asked.methods.split(","), asked.rounds, asked.photo)))


if __name__ == "__main__":
    main()
