"""From a torch module to a compiled OpenVINO model, kept on disk so that the next start is quick.

Keyed by everything that decides the result: weights, graph, the versions of both libraries and of camserve.
"""

import hashlib
import logging
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor, fx, nn

from camserve.errors import EngineError
from camserve.models.snapshot import add_weights
from camserve.version import __version__

# OpenVINO reports its use to its makers unless told otherwise. Who explains photographs of others phones nobody: where
# its reporting package cannot be imported, OpenVINO goes on without.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 - after the line above

log = logging.getLogger("camserve")

# Pixels of an input, or of a batch together.
LARGE = 1_000_000
# Models kept on disk, the latest used ones; each takes about twice the size of its weights.
KEPT = 16
# A stream keeps what it has prepared for every size of input, layer by layer: so many layers, which bounds its memory.
_PREPARED = 2000
_FILE = "model.xml"
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class Compiled:
    """A compiled model; each thread that calls it has a request of its own, so callers never meet.

    compiled: makes the model for so many calls at once. OpenVINO keeps what the largest input needed, for every one of
    them; so inputs of more than LARGE pixels go one at a time through a model of their own, which then lets go of it.
    """

    def __init__(self, compiled: "Callable[[int], openvino.CompiledModel]", workers: int) -> None:
        self._compiled, self._model, self._mine = compiled, compiled(workers), threading.local()
        self._for_large: openvino.CompiledModel | None = None
        self._one_large = threading.Lock()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(N, c, H, W) -> its results, each in memory of its own."""
        if images[:, 0].numel() > LARGE:
            return self._run_large(images)
        if not hasattr(self._mine, "request"):
            self._mine.request = self._model.create_infer_request()
        return _run(self._mine.request, images)

    def _run_large(self, images: Tensor) -> list[Tensor]:
        with self._one_large:
            if self._for_large is None:
                self._for_large = self._compiled(1)
            try:
                return _run(self._for_large.create_infer_request(), images)
            finally:
                self._for_large.release_memory()


def _run(request: "openvino.InferRequest", images: Tensor) -> list[Tensor]:
    given = openvino.Tensor(images.detach().contiguous().numpy(), shared_memory=True)
    try:
        request.set_input_tensor(given)  # `infer(given)` first asks at length what kind of input it has got
        results = request.infer()
    except RuntimeError as error:
        raise RuntimeError(_reason(error)) from None  # as torch's own, for whoever words it for users
    return [torch.from_numpy(result) for result in results.to_tuple()]


@dataclass(frozen=True)
class Converter:
    """cache: folder for converted models, None to keep nothing. workers: threads that call at once; threads: each
    one's. precision: "float32" or "bfloat16". example: channels and a size (c, w, h) to trace with, the only one that
    works where not any_size.
    """

    cache: Path | None
    workers: int
    threads: int
    precision: str
    example: tuple[int, int, int]
    any_size: bool

    def compiled(self, module: nn.Module) -> Compiled:
        """`module`, images -> tensors, compiled; from the disk if it has been before. Raises EngineError."""
        if self.cache is None:
            return Compiled(partial(self._compile, self._convert(module)), self.workers)
        folder = self.cache / f"openvino-{_key(module, self.example[:1] if self.any_size else self.example)}"
        if _is_kept(folder / _FILE):
            try:
                return Compiled(partial(self._compile, folder / _FILE), self.workers)
            except EngineError:
                log.warning("the converted model in '%s' cannot be read: it is made anew (compute.cache)", folder)
                shutil.rmtree(folder, ignore_errors=True)
        return Compiled(partial(self._compile, self._made(module, folder)), self.workers)

    def _compile(self, model: "Path | openvino.Model", calls: int) -> "openvino.CompiledModel":
        """A stream for each call, so that none waits for another; not bound to cores that others want."""
        properties = {
            "NUM_STREAMS": calls,
            "INFERENCE_NUM_THREADS": calls * self.threads,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.precision],
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _PREPARED,
        }
        try:
            if not isinstance(model, Path):
                return openvino.Core().compile_model(model, "CPU", properties)
            try:
                kept = {**properties, "CACHE_DIR": str(model.parent / "compiled")}
                return openvino.Core().compile_model(str(model), "CPU", kept)
            except RuntimeError:  # another process writes the same file at this moment, or the disk is full
                return openvino.Core().compile_model(str(model), "CPU", properties)
        except RuntimeError as error:
            raise EngineError(_reason(error)) from None

    def _made(self, module: nn.Module, folder: Path) -> "Path | openvino.Model":
        """`module` converted and kept in `folder`: its file, or, where it cannot be kept, the model."""
        model = self._convert(module)
        try:
            self._keep(model, folder)
        except OSError as error:
            log.warning("cannot keep the converted model in '%s': %s (compute.cache)", self.cache, error.strerror)
            return model
        return folder / _FILE

    def _convert(self, module: nn.Module) -> "openvino.Model":
        channels, width, height = self.example
        example = torch.zeros(1, channels, height, width)
        shape = openvino.PartialShape([-1, channels, *([-1, -1] if self.any_size else [height, width])])
        try:
            # the tracer that OpenVINO calls is deprecated, and warns of what is checked afterwards: other sizes
            with warnings.catch_warnings(action="ignore"), torch.no_grad():
                return openvino.convert_model(module.eval(), example_input=example, input=[shape])
        except EngineError:
            raise
        except Exception as error:  # whatever the tracer or the translator raises
            raise EngineError(_reason(error)) from None

    def _keep(self, model: "openvino.Model", folder: Path) -> None:
        """Put it on disk, whole or not at all, and take the least used ones away. Raises OSError."""
        assert self.cache is not None
        self.cache.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix="part-", dir=self.cache))
        try:
            openvino.save_model(model, str(part / _FILE), compress_to_fp16=False)
            if not (folder / _FILE).exists():  # another process may have been faster
                part.replace(folder)
        except RuntimeError as error:  # as OpenVINO says that a disk is full
            raise OSError(0, _reason(error)) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
        kept = sorted(self.cache.glob(f"openvino-*/{_FILE}"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-KEPT]:
            shutil.rmtree(old.parent, ignore_errors=True)


def _is_kept(file: Path) -> bool:
    """Whether it is there; marked as used, if that may be, as what was not used for longest goes first."""
    try:
        there = file.exists()
    except OSError:  # a folder of somebody else's
        return False
    if there:
        with suppress(OSError):  # one that may only be read is as good
            file.touch()
    return there


def _key(module: nn.Module, only: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    about = [__version__, version("torch"), openvino.__version__, type(module).__name__, only, repr(module)]
    graphs = [part.code for part in module.modules() if isinstance(part, fx.GraphModule)]
    digest.update(repr((about, graphs)).encode())
    add_weights(digest, module)
    return digest.hexdigest()[:32]


def _reason(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).split("\n")]
    return next(
        (line for line in lines if line and not line.startswith(("Exception from", "Check"))), type(error).__name__
    )
