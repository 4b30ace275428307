"""A compiled OpenVINO model, which any number of threads may call, on arrays. No torch.

Kept apart from what makes one of a torch module: a model file is explained without torch. Shapes that come often have
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

# Numbers of an input, or of a batch together: a megapixel in colour.
LARGE = 3_000_000
# A stream keeps what it has prepared for every size of input, layer by layer: so many layers, which bounds its memory.
# A model that has seen more than _FEW sizes is worth compiling anew when there is nothing else to do: 150 sizes took
# 250 MB, for which OpenVINO has no other way back.
_PREPARED, _FEW = 2000, 16
# Of what is not in integers.
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class Running:
    """A compiled model, with a request for each thread that calls it, so callers never meet.

    The requests end with it. A thread's storage may not be the last to hold a model: in the child of a fork the storage
    of all other threads is destroyed, and a model destroyed there waits for its own threads, of which there are none.
    """

    def __init__(self, model: "openvino.CompiledModel") -> None:
        self._model, self._mine = model, threading.local()

    def __call__(self, images: Array) -> list[Array]:
        """Its results, each in memory of its own. Raises RuntimeError."""
        if not hasattr(self._mine, "request"):
            self._mine.request = self._model.create_infer_request()
        return _run(self._mine.request, images)


class Compiled:
    """A compiled model, which any number of threads may call.

    model: what is compiled, or the file of it. compiled: does that, for so many calls at once. OpenVINO keeps what the
    largest input needed, for every one of them; so inputs of more than LARGE numbers go one at a time through a model
    of their own, which then lets go of it.

    OpenVINO computes on threads of its own, which are as modest as the thread that has it compile: so modest threads
    have a model of theirs, for half as many calls at once.
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
        """Where the model is kept, None where it is not."""
        return self._source if isinstance(self._source, Path) else None

    def forget_sizes(self) -> None:
        """Lets go of what was prepared for sizes of input, where they were many, or have become rare."""
        self.frequent.rest()
        if len(self._sizes) > _FEW:
            self._models.pop(True, None)
            self.renew()

    def renew(self) -> None:
        """Compiles the model again, for calls from now on: one that has failed may go on failing."""
        failed = self._models.get(is_modest())
        with self._renewing, suppress(EngineError):
            if self._models.get(is_modest()) is failed:  # else another thread has been faster
                self._models[is_modest()] = Running(self._compiled(self._source, self._calls[is_modest()]))
                self._sizes.clear()

    def __call__(self, images: Array) -> list[Array]:
        """(N, c, H, W) -> its results, each in memory of its own."""
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
        """Read where it is first needed: what was compiled is on the disk, too."""
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
        request.set_input_tensor(given)  # `infer(given)` first asks at length what kind of input it has got
        results = request.infer()
    except RuntimeError as error:
        raise RuntimeError(reason(error)) from None  # as torch's own, for whoever words it for users
    found: list[Array] = list(results.to_tuple())
    if not all(one.size for one in found):  # as of an image that is too small, or where memory was too little
        raise RuntimeError("the engine gave an empty result")
    return found


def compiled_for(
    model: "Path | openvino.Model", calls: int, threads: int, precision: str, cache: "Path | None"
) -> "openvino.CompiledModel":
    """A stream for each call, so that none waits for another; not bound to cores that others want.

    calls: at once; threads: each one's. precision: as compute.precision. cache: a folder for what was compiled; None:
    nowhere. Raises EngineError.
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
            with suppress(RuntimeError):  # another process writes the same file at this moment, or the disk is full
                return openvino.Core().compile_model(given, "CPU", {**properties, "CACHE_DIR": str(cache)})
        return openvino.Core().compile_model(given, "CPU", properties)
    except RuntimeError as error:
        raise EngineError(reason(error)) from None


def compiled_beside(
    model: "Path | openvino.Model", calls: int, threads: int, precision: str
) -> "openvino.CompiledModel":
    """As `compiled_for`; what is compiled of a file is kept beside it."""
    return compiled_for(
        model, calls, threads, precision, model.parent / "compiled" if isinstance(model, Path) else None
    )


def reason(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).split("\n")]
    return next(
        (line for line in lines if line and not line.startswith(("Exception from", "Check"))), type(error).__name__
    )
