"""`xai.py` runs this with the Python of an environment that has openvino-xai 1.1.0. It does not import camserve.

    python xai_process.py FOLDER THREADS METHOD...

FOLDER holds network.onnx and, before the first request, images.npy. It prints "ready" and the precision that OpenVINO
chose, f32 or bf16; then it answers each line, the name of a method, with the seconds that the method took.
"""

import logging
import sys
import time
from pathlib import Path

import numpy as np
import openvino
import openvino_xai


def compiled(path: Path, threads: int, method: str) -> openvino.CompiledModel:
    """Compile the network in `path` with openvino-xai's branch, for `threads` threads."""
    core = openvino.Core()
    chosen = getattr(openvino_xai.Method, method)
    model = openvino_xai.insert_xai(core.read_model(path), openvino_xai.Task.CLASSIFICATION, explain_method=chosen)
    return core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads})


def main() -> None:
    """Answer until standard input ends."""
    logging.getLogger("openvino_xai").setLevel(logging.WARNING)
    folder, threads, methods = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    models = {method: compiled(folder / "network.onnx", threads, method) for method in methods}
    print("ready", models[methods[0]].get_property("INFERENCE_PRECISION_HINT").get_type_name(), flush=True)
    images = None
    for line in sys.stdin:
        images = np.load(folder / "images.npy") if images is None else images
        start = time.perf_counter()
        models[line.strip()](images)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
