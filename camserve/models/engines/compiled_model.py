"""A compiled OpenVINO model on arrays, which any number of threads may call. No torch.

The conversion from torch is in another file, as a model file is explained without torch. Frequent input shapes have
graphs of their own, see `camserve.models.engines.frequent_shapes`.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.errors import EngineError
from camserve.models.engines.frequent_shapes import FrequentShapes, Shape, most_graphs
from camserve.models.engines.openvino_quietly import openvino
from camserve.system.workers import is_modest

Array = npt.NDArray[Any]

# Most numbers of an input or a batch that the usual model runs: a megapixel in colour.
LARGE = 3_000_000
# Each stream caches what it prepared, per layer and input size: at most _PREPARED layers, which bounds its memory.
# After more than _FEW sizes, the model is compiled again when the process is idle: 150 sizes took
# 250 MB, and OpenVINO has no other way to free them.
_PREPARED, _FEW = 2000, 16
# OpenVINO's names of precisions. In int8, the parts that are not quantised are float32.
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class Running:
    """A compiled model with one request for each thread that calls it, so that threads share nothing.

    The requests end with this object. A thread's storage must not hold the last reference to a model: after a fork, the
    child destroys the storage of all other threads, and a model destroyed there waits for threads that do not exist.
    """

    def __init__(self, model: "openvino.CompiledModel") -> None:
        self._model, self._mine = model, threading.local()

    def __call__(self, images: Array) -> list[Array]:
        """Run the model; each result has memory of its own. Raises RuntimeError."""
        if not hasattr(self._mine, "request"):
            self._mine.request = self._model.create_infer_request()
        return _run(self._mine.request, images)


class Compiled:
    """A compiled model, which any number of threads may call.

    model: the model, or its file. compiled: compiles it for a number of calls at once. OpenVINO keeps the memory of the
    largest input, for each stream. So inputs of more than LARGE numbers run one at a time in a separate
    model, which then frees its memory.

    OpenVINO computes on its own threads, which get the priority of the thread that compiles. So low-priority threads
    have a model of their own, for half as many calls at once.
    """

    def __init__(
        self,
        model: "Path | openvino.Model",
        compiled: "Callable[[Path | openvino.Model, int], openvino.CompiledModel]",
        workers: int,
    ) -> None:
        self._source, self._compiled = model, compiled
        self._calls = {False: workers, True: max(1, workers // 2)}
        self._models = {False: Running(compiled(model, workers))}
        self._for_large: openvino.CompiledModel | None = None
        self._one_large, self._renewing = threading.Lock(), threading.Lock()
        self._sizes = set[tuple[int, ...]]()
        self.frequent = FrequentShapes(self._of_shape, lambda: most_graphs(self._graph))

    @property
    def file(self) -> Path | None:
        """The file of the model, None if it is not on disk."""
        return self._source if isinstance(self._source, Path) else None

    def forget_sizes(self) -> None:
        """Free what was prepared for input sizes, if there were many, or if they became rare."""
        self.frequent.rest()
        if len(self._sizes) > _FEW:
            self._models.pop(True, None)
            self.renew()

    def renew(self) -> None:
        """Compile the model again, for all later calls: a model that has failed may fail again."""
        failed = self._models.get(is_modest())
        with self._renewing, suppress(EngineError):
            if self._models.get(is_modest()) is failed:  # else another thread has compiled it already
                self._models[is_modest()] = Running(self._compiled(self._source, self._calls[is_modest()]))
                self._sizes.clear()

    def __call__(self, images: Array) -> list[Array]:
        """(N, c, H, W) -> the results, each in memory of its own."""
        if images.size > LARGE:
            return self._run_large(images)
        shape = Shape(images.shape, is_modest())
        if (graph := self.frequent.graph(shape)) is not None:
            with suppress(RuntimeError):
                return graph(images)
            self.frequent.drop(shape)
        self._sizes.add(images.shape)
        results = self._model()(images)
        self.frequent.answered(shape, images, results)
        return results

    def _model(self) -> Running:
        if (found := self._models.get(modest := is_modest())) is None:
            with self._renewing:
                if (found := self._models.get(modest)) is None:
                    found = self._models[modest] = Running(self._compiled(self._source, self._calls[modest]))
        return found

    @cached_property
    def _graph(self) -> "openvino.Model":
        """The graph, read from disk at the first use."""
        return openvino.Core().read_model(self._source) if isinstance(self._source, Path) else self._source

    def _of_shape(self, shape: Shape) -> Running:
        graph = self._graph.clone()
        graph.reshape(list(shape.of))
        return Running(self._compiled(graph, self._calls[shape.is_modest]))

    def _run_large(self, images: Array) -> list[Array]:
        with self._one_large:
            if self._for_large is None:
                self._for_large = self._compiled(self._source, 1)
            try:
                return _run(self._for_large.create_infer_request(), images)
            finally:
                self._for_large.release_memory()


def _run(request: "openvino.InferRequest", images: Array) -> list[Array]:
    given = openvino.Tensor(np.ascontiguousarray(images), shared_memory=True)
    try:
        request.set_input_tensor(given)  # `infer(given)` first checks the type of its input, which is slow
        results = request.infer()
    except RuntimeError as error:
        raise RuntimeError(reason(error)) from None  # the same kind as torch's errors
    found: list[Array] = list(results.to_tuple())
    if not all(one.size for one in found):  # the image is too small, or there is too little memory
        raise RuntimeError("the engine gave an empty result")
    return found


def compiled_for(
    model: "Path | openvino.Model", calls: int, threads: int, precision: str, cache: "Path | None"
) -> "openvino.CompiledModel":
    """Compile a model with a stream for each call, so that calls do not wait; streams are not bound to cores.

    calls: at once; threads: of each call. precision: as in compute.precision. cache: a folder for compiled models, or
    None. Raises EngineError.
    """
    properties = {
        "NUM_STREAMS": calls,
        "INFERENCE_NUM_THREADS": calls * threads,
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": _PREPARED,
    }
    given = str(model) if isinstance(model, Path) else model
    try:
        if cache is not None:
            with suppress(RuntimeError):  # another process is writing the same file, or the disk is full
                return openvino.Core().compile_model(given, "CPU", {**properties, "CACHE_DIR": str(cache)})
        return openvino.Core().compile_model(given, "CPU", properties)
    except RuntimeError as error:
        raise EngineError(reason(error)) from None


def compiled_beside(
    model: "Path | openvino.Model", calls: int, threads: int, precision: str
) -> "openvino.CompiledModel":
    """As `compiled_for`; a model from a file is cached beside this file."""
    return compiled_for(
        model, calls, threads, precision, model.parent / "compiled" if isinstance(model, Path) else None
    )


def reason(error: Exception) -> str:
    """The first line of an error that gives a reason."""
    lines = [line.strip() for line in str(error).split("\n")]
    return next(
        (line for line in lines if line and not line.startswith(("Exception from", "Check"))), type(error).__name__
    )
