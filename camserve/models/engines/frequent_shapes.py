"""Separate graphs for frequent input shapes: OpenVINO runs a graph of fixed shape with less overhead. No torch.

Each graph is compiled on its own thread, while the graph for any shape continues to answer. It is used only if it
gives the same bits for an input that was already answered. Their number is limited: a shape that becomes rare loses
its graph.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.errors import EngineError
from camserve.system.workers import give_way

if TYPE_CHECKING:
    import openvino

Array = npt.NDArray[Any]
# (N, c, H, W) -> the results of the network
Graph = Callable[[Array], list[Array]]

# Images of a shape, among the latest few hundred, before it gets its own graph: compiling the embedded model
# takes as long as 50 images then save.
OFTEN, _LATEST = 32, 256
# Most graphs, and most bytes of weights in all of them: each graph stores its weights again. A larger network has no
# such graphs; it would gain only 1 to 4 % (ResNet, ConvNeXt).
MOST, WEIGHTS = 6, 96 * 2**20


# Name of the thread that compiles a graph and then ends.
THREAD = "camserve-graph"


class Shape(NamedTuple):
    """of: the input, (N, c, H, W). is_modest: whether the caller's and the graph's threads have low priority."""

    of: tuple[int, ...]
    is_modest: bool


class FrequentShapes:
    """Counts which shapes are frequent, and has their graphs.

    most: returns the limit of graphs; called on the compiling thread. compiled: makes the graph for a shape, and raises
    RuntimeError if that fails. Any number of threads may call.
    """

    def __init__(self, compiled: Callable[[Shape], Graph], most: Callable[[], int]) -> None:
        self._compiled, self._most = compiled, most
        self.graphs: dict[Shape, Graph] = {}
        self._counts, self._counted, self._refused = Counter[Shape](), 0, set[Shape]()
        self._lock, self._limit = threading.Lock(), MOST
        self._thread: threading.Thread | None = None

    def graph(self, shape: Shape) -> Graph | None:
        """Count an input of this shape, and return its graph; None if it has no graph yet."""
        if not self._limit:
            return None
        with self._lock:
            self._counts[shape] += shape.of[0]
            self._counted += shape.of[0]
            if self._counted > _LATEST:
                self._age()
            return self.graphs.get(shape)

    def answered(self, shape: Shape, images: Array, results: Sequence[Array]) -> None:
        """Start to make a graph if the shape is frequent. results: the usual graph's results for `images`."""
        if self._counts[shape] < OFTEN:
            return
        with self._lock:
            if self._thread is not None or shape in self._refused or not self._has_room(shape):
                return
            given = shape, images.copy(), [one.copy() for one in results]
            self._thread = threading.Thread(target=self._make, args=given, name=THREAD)
        self._thread.start()

    def rest(self) -> None:
        """Halve the counts, and drop the graphs of shapes that became rare."""
        with self._lock:
            self._age()
            for shape in [shape for shape in self.graphs if self._counts[shape] < OFTEN // 2]:
                del self.graphs[shape]

    def drop(self, shape: Shape) -> None:
        """Drop the graph of a shape, and make no new one while the shape is counted."""
        with self._lock:
            self.graphs.pop(shape, None)
            self._refused.add(shape)

    def settled(self) -> None:
        """Wait for a graph that is being made."""
        if (thread := self._thread) is not None:
            thread.join()

    def _age(self) -> None:
        self._counted = 0
        self._counts = Counter({shape: count // 2 for shape, count in self._counts.items() if count > 1})
        self._refused &= self._counts.keys()

    def _has_room(self, shape: Shape) -> bool:
        """Whether a graph may be added; drops that of the rarest shape if it is at most half as frequent."""
        if len(self.graphs) < self._limit:
            return True
        rarest = min(self.graphs, key=lambda one: self._counts[one])
        if 2 * self._counts[rarest] > self._counts[shape]:
            return False
        del self.graphs[rarest]
        return True

    def _make(self, shape: Shape, images: Array, results: list[Array]) -> None:
        if shape.is_modest:  # OpenVINO's threads get the priority of the thread that compiles
            give_way()
        graph = None
        try:
            self._limit = self._most()
            if self._limit:
                graph = self._compiled(shape)
                pairs = zip(graph(images), results, strict=True)
                graph = graph if all(np.array_equal(one, other, equal_nan=True) for one, other in pairs) else None
        except (RuntimeError, MemoryError, EngineError):
            graph = None
        finally:
            with self._lock:
                if graph is None:
                    self._refused.add(shape)
                elif self._has_room(shape):
                    self.graphs[shape] = graph
                self._thread = None


def most_graphs(model: openvino.Model) -> int:
    """How many graphs for single shapes a network may have, given the size of its weights."""
    held: int = sum(one.get_data().nbytes for one in model.get_ops() if one.get_type_name() == "Constant")
    return min(MOST, WEIGHTS // max(held, 1))
