"""How long does it take from nothing to the first answer?

    python benchmarks/startup.py [--model efficientnet-lite0] [--engines torch]

New processes, in turn: Python that does nothing, `import camserve`, `import torch`, and `camserve explain` of one
photograph of 0.2 megapixels. Files are in the system's cache, and so is what an engine keeps on disk: the first start
of each is not counted.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Aim, Results, Samples, Table, Work, interleaved, rows, spread
from program import alone
from subjects import Plan, environment, write_photographs

NOTHING, OURS, TORCH = "python, nothing", "import camserve", "import torch"
IMPORT_LIMIT, EXPLAIN_LIMIT = 0.05, 1.5


def measure(plan: Plan) -> Results:
    """One table, and what is left when Python's and torch's own share is taken off."""
    with tempfile.TemporaryDirectory() as name:
        (photo,) = write_photographs(Path(name), 1, (500, 400))
        works: dict[str, Work] = {
            NOTHING: lambda: started(["-c", ""]),
            OURS: lambda: started(["-c", "import camserve"]),
            TORCH: lambda: started(["-c", "import torch"]),
        }
        for engine in plan.engines:
            words = ["-m", "camserve", "explain", str(photo), "-o", str(Path(name) / "out"), "--model", plan.model]
            works[f"camserve explain, {engine}"] = lambda words=words, engine=engine: started(words, engine)
        samples = interleaved(works, plan.choose(10, 1), warmups=plan.choose(1, 0))
    results = Results([Table(plan.model, rows(samples))])
    results.aims.append(Aim("seconds that import camserve adds", more(samples, OURS, NOTHING), IMPORT_LIMIT))
    for name in list(works)[3:]:
        results.aims.append(Aim(f"{name}: seconds over import torch", more(samples, name, TORCH), EXPLAIN_LIMIT))
    return results


def started(words: list[str], engine: str = "torch") -> None:
    """A Python of its own, until it ends."""
    surroundings = {**os.environ, **environment(engine)}
    subprocess.run([sys.executable, *words], env=surroundings, stdout=subprocess.DEVNULL, check=True)


def more(samples: Samples, name: str, base: str) -> float:
    """By how much one work takes longer than another, the median over the repeats."""
    return spread([mine - other for mine, other in zip(samples[name], samples[base], strict=True)])[1]


if __name__ == "__main__":
    alone(measure, __doc__)
