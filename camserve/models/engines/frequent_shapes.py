"""Graphs for the shapes of input that come often: OpenVINO runs those of a fixed shape with less overhead. No torch.

Each is compiled on a thread of its own while the graph for any shape goes on answering, and is taken only if it has
given the same bits for an input that had been answered. There are few, and a shape that has become rare loses its own.
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

# Images of a shape, of the latest few hundred, from which on it has a graph of its own: compiling the embedded model
# takes as long as 50 images then save.
OFTEN, _LATEST = 32, 256
# Graphs at most, and bytes of weights that they may hold in all: each lays them out anew. A network with more weights
# than that has none; such networks would gain 1 to 4 % (ResNet, ConvNeXt).
MOST, WEIGHTS = 6, 96 * 2**20


# What makes one, and ends by itself.
THREAD = "camserve-graph"


class Shape(NamedTuple):
    """of: the input, (N, c, H, W). is_modest: whether its threads give way to others, as those of its graph do then."""

    of: tuple[int, ...]
    is_modest: bool


class FrequentShapes:
    """Which shapes come often, and their graphs.

    most: says how many graphs there may be; asked off the path. compiled: makes the one for a shape, which raises
    RuntimeError where it fails. Any number of threads may call.
    """

    def __init__(self, compiled: Callable[[Shape], Graph], most: Callable[[], int]) -> None:
        self._compiled, self._most = compiled, most
        self.graphs: dict[Shape, Graph] = {}
        self._counts, self._counted, self._refused = Counter[Shape](), 0, set[Shape]()
        self._lock, self._limit = threading.Lock(), MOST
        self._thread: threading.Thread | None = None

    def graph(self, shape: Shape) -> Graph | None:
        """The graph of a shape of which there is an input; None where it has none, or none yet."""
        if not self._limit:
            return None
        with self._lock:
            self._counts[shape] += shape.of[0]
            self._counted += shape.of[0]
            if self._counted > _LATEST:
                self._age()
            return self.graphs.get(shape)

    def answered(self, shape: Shape, images: Array, results: Sequence[Array]) -> None:
        """Have a graph made where the shape has come often. results: what the graph for any shape gave for images."""
        if self._counts[shape] < OFTEN:
            return
        with self._lock:
            if self._thread is not None or shape in self._refused or not self._has_room(shape):
                return
            given = shape, images.copy(), [one.copy() for one in results]
            self._thread = threading.Thread(target=self._make, args=given, name=THREAD)
        self._thread.start()

    def rest(self) -> None:
        """Forget half of what was counted, and let go of the graphs of shapes that have become rare."""
        with self._lock:
            self._age()
            for shape in [shape for shape in self.graphs if self._counts[shape] < OFTEN // 2]:
                del self.graphs[shape]

    def drop(self, shape: Shape) -> None:
        """Let go of the graph of a shape for good."""
        with self._lock:
            self.graphs.pop(shape, None)
            self._refused.add(shape)

    def settled(self) -> None:
        """Waits for a graph that is being made."""
        if (thread := self._thread) is not None:
            thread.join()

    def _age(self) -> None:
        self._counted = 0
        self._counts = Counter({shape: count // 2 for shape, count in self._counts.items() if count > 1})
        self._refused &= self._counts.keys()

    def _has_room(self, shape: Shape) -> bool:
        """Whether there are fewer graphs than may be, or one of a shape that comes half as often, which then goes."""
        if len(self.graphs) < self._limit:
            return True
        rarest = min(self.graphs, key=lambda one: self._counts[one])
        if 2 * self._counts[rarest] > self._counts[shape]:
            return False
        del self.graphs[rarest]
        return True

    def _make(self, shape: Shape, images: Array, results: list[Array]) -> None:
        if shape.is_modest:  # OpenVINO computes on threads as modest as the one that compiles
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
    """How many graphs of their own the shapes of a network may have, by what its weights hold."""
    held: int = sum(one.get_data().nbytes for one in model.get_ops() if one.get_type_name() == "Constant")
    return min(MOST, WEIGHTS // max(held, 1))
