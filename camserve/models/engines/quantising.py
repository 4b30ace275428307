"""Quantises a converted network to 8-bit integers, up to its layer. Runs as its own process.

    python -m camserve.models.engines.quantising FOLDER

FOLDER holds model.xml, whose first result is the layer, and prepared photographs: 0.npy, 1.npy, ...
The result is int8.xml. Operations after the layer, pooling and classifier, stay in float32, so maps add up to logits.
It needs its own process because the import of nncf changes torch and logging, and prints.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.errors import ConfigError, EngineError
from camserve.models.engines.openvino_quietly import openvino

Float32 = npt.NDArray[np.float32]

_GIVEN, _MADE = "model.xml", "int8.xml"
# The smallest share of photographs whose best class must stay the same.
SAME = 0.9
_INSTALL = "compute.precision = 'int8' needs nncf: pip install \"camserve[int8]\""


def quantised(graph: "openvino.Model", images: Iterable[Float32]) -> "openvino.Model":
    """`graph` in 8-bit integers, calibrated on prepared photographs, each (1, c, H, W).

    Raises ConfigError if nncf is not installed, EngineError if it fails, or if too many best classes change.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, taken = Path(name), list[Float32]()
        openvino.save_model(graph, folder / _GIVEN, compress_to_fp16=False)
        for number, image in enumerate(images):
            np.save(folder / f"{number}.npy", image)
            taken.append(image)
        words = [sys.executable, "-m", __name__, name]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = ended.stderr.strip().splitlines()[-1:] or [f"exit status {ended.returncode}"]
            raise ConfigError(_INSTALL) if "No module named 'nncf'" in said[0] else EngineError(said[0])
        made = openvino.Core().read_model(
            (folder / _MADE).read_bytes(), (folder / _MADE).with_suffix(".bin").read_bytes()
        )
    same = float(np.mean(_best(graph, taken) == _best(made, taken)))
    if same < SAME:
        raise EngineError(f"in int8 {same:.0%} of the photographs keep their best class, fewer than {SAME:.0%}")
    return made


def _best(graph: "openvino.Model", images: list[Float32]) -> npt.NDArray[np.int64]:
    """The best class of each image."""
    run = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1})
    return np.array([run(image)[len(run.outputs) - 1].argmax() for image in images])


def behind(output: Any) -> list[str]:
    """The names of all operations that depend on an output of a graph, directly or indirectly."""
    names, ahead = dict[str, None](), [output]
    while ahead:
        for taker in ahead.pop().get_target_inputs():
            node = taker.get_node()
            if node.get_type_name() != "Result" and node.get_friendly_name() not in names:
                names[node.get_friendly_name()] = None
                ahead += node.outputs()
    return list(names)


def main(folder: Path) -> None:
    """Quantise the model in a folder; see the module."""
    import nncf

    graph = openvino.Core().read_model(folder / _GIVEN)
    images = [np.load(file) for file in sorted(folder.glob("*.npy"))]
    head = nncf.IgnoredScope(names=behind(graph.outputs[0].get_node().input_value(0)))
    made = nncf.quantize(graph, nncf.Dataset(images), subset_size=len(images), ignored_scope=head)
    openvino.save_model(made, folder / _MADE, compress_to_fp16=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
