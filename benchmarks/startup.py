"""How long does it take from the start of a process to the first answer?

    python benchmarks/startup.py [--model efficientnet-lite0] [--engines torch]

New processes, interleaved: Python that does nothing, `import camserve`, `import torch`, and `camserve explain` of one
photograph of 0.2 megapixels, with the model on each engine and with the same network as an .onnx file on OpenVINO. The
first start of each does not count, so files and the engines' disk caches are in the system's cache.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from measuring import Aim, Results, Samples, Table, Work, interleaved, rows, spread
from program import alone
from subjects import Plan, engines, environment, write_photographs

import camserve
from camserve.models.onnx_export import NEEDED, export

NOTHING, OURS, TORCH = "python, nothing", "import camserve", "import torch"
ON_TORCH, FILE = "camserve explain, torch", "camserve explain net.onnx"
IMPORT_LIMIT, EXPLAIN_LIMIT, FILE_SHARE = 0.05, 1.5, 1 / 3


def measure(plan: Plan) -> Results:
    """Make one table, and aims for the time without Python's and torch's own share."""
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
        if "torch" in plan.engines and "openvino" in engines() and all(map(find_spec, NEEDED)):
            export(camserve.load(plan.model), file := Path(name) / "net.onnx")
            words = ["-m", "camserve", "explain", str(photo), "-o", str(Path(name) / "out"), "--model", str(file)]
            works[FILE] = lambda words=words: started(words, "openvino")
        samples = interleaved(works, plan.choose(10, 1), warmups=plan.choose(1, 0))
    results = Results([Table(plan.model, rows(samples))])
    results.aims.append(Aim("seconds that import camserve adds", more(samples, OURS, NOTHING), IMPORT_LIMIT))
    for name in (one for one in works if one.startswith("camserve explain,")):
        results.aims.append(Aim(f"{name}: seconds over import torch", more(samples, name, TORCH), EXPLAIN_LIMIT))
    if FILE in works:
        ratio = spread([mine / other for mine, other in zip(samples[FILE], samples[ON_TORCH], strict=True)])[1]
        results.aims.append(Aim("an .onnx file: share of the time that the model on torch takes", ratio, FILE_SHARE))
    return results


def started(words: list[str], engine: str = "torch") -> None:
    """Run a new Python process until it ends."""
    surroundings = {**os.environ, **environment(engine)}
    subprocess.run([sys.executable, *words], env=surroundings, stdout=subprocess.DEVNULL, check=True)


def more(samples: Samples, name: str, base: str) -> float:
    """Return how much longer one work takes than another, the median over the repeats."""
    return spread([mine - other for mine, other in zip(samples[name], samples[base], strict=True)])[1]


if __name__ == "__main__":
    alone(measure, __doc__)
