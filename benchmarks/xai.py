"""openvino-xai in its own environment, interleaved with the works of this process."""

import subprocess
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from measuring import Seconds, Work
from subjects import load
from torch import Tensor

# The program of the other process: it answers each line, the name of a method, with seconds.
PROGRAM = Path(__file__).parent / "xai_process.py"
METHODS = ("RECIPROCAM", "ACTIVATIONMAP")


class OpenvinoXai:
    """A process that holds a network, for a `with` block.

    python: of an environment with openvino-xai; None: there is none, and `missing` says so. source: the network, as for
    `camserve.load`. threads: of inference.
    """

    def __init__(self, python: str | None, source: str, threads: int) -> None:
        self.missing = "" if python else "no environment with it was named (--openvino-xai PYTHON)"
        self._python, self._source, self._threads = python, source, threads
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None
        self._precision = ""

    def __enter__(self) -> Self:
        if self._python and not self.missing:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            with self._process:  # closing its input ends it
                pass
        self._folder.cleanup()

    def _start(self) -> None:
        folder = Path(self._folder.name)
        network = load(self._source, "torch").module
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about tracing and its own deprecation
            torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), folder / "network.onnx", dynamo=False)
        command = [str(self._python), str(PROGRAM), str(folder), str(self._threads), *METHODS]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready, _, self._precision = self._ask("").partition(" ")
        if ready != "ready":
            self.missing = f"it did not start with {self._python}; what it said stands above"

    def works(self, images: Tensor) -> dict[str, Work]:
        """Return each method as a work on one image (1, 3, 224, 224), from the input to the maps of all its classes."""
        np.save(Path(self._folder.name) / "images.npy", images.numpy())
        return {
            f"openvino-xai {name}, {self._precision}": lambda name=name: Seconds(self._ask(name)) for name in METHODS
        }

    def _ask(self, line: str) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if line:
            print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()
