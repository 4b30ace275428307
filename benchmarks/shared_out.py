"""How much time do idle workers save for a method with many forward passes?

    python benchmarks/shared_out.py [--rounds 5] [--methods rise,scorecam,occlusion,integratedgradients]

Wall and CPU seconds for one explanation of a photograph, alternately with one worker and with two, one intra-op thread
each; and whether the maps have the same bits.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median

import numpy as np
from subjects import cache_folder

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.config import load_settings
from camserve.explain.pipeline import explain
from camserve.explain.run import Run
from camserve.system.workers import Workers


def main() -> None:
    """Print medians, and the ratios of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", default="rise,scorecam,occlusion,integratedgradients")
    parser.add_argument("--photo", type=Path, default=Path(__file__).parent.parent / "photos" / "cat.jpg")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    compute = {"cache": cache_folder(), "threads": 1, "workers": 2}
    model = camserve.load(settings=load_settings(environ={}, overrides={"compute": compute}))
    pools = {count: Workers(count, 1) for count in (1, 2)}
    for method in asked.methods.split(","):
        took: dict[int, list[tuple[float, float]]] = {count: [] for count in pools}
        maps = {}
        for number in range(asked.rounds):
            for count in list(pools)[:: 1 if number % 2 else -1]:
                start, cpu = time.perf_counter(), time.process_time()
                maps[count] = explain(model, asked.photo, None, ExplainOptions(method=method), Run(pools[count])).map
                took[count].append((time.perf_counter() - start, time.process_time() - cpu))
        same = "the same bits" if np.array_equal(maps[1], maps[2]) else "OTHER BITS"
        for place, what in enumerate(("waiting", "CPU")):
            one, two = ([each[place] for each in took[count]] for count in pools)
            ratio = median(b / a for a, b in zip(one, two, strict=True))
            print(f"{method}, {what}: {median(one):.2f} s, {median(two):.2f} s, {ratio:.2f}, {same}", flush=True)
    for pool in pools.values():
        pool.close()


if __name__ == "__main__":
    main()
