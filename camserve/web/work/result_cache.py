"""The cache of results: activations of inputs, and whole explanations without pixels."""

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from camserve.explain.run import Forward
    from camserve.explanation.attribution import Attribution
    from camserve.images.reading import Photo
    from camserve.model import Model
    from camserve.models.compiled.closed import Closed
    from camserve.models.layer import Layer


# Bytes of an entry besides its arrays: names, placement, key.
_REST = 4096


def _bytes_of(found: Any) -> int:
    """The bytes of an array or tensor, or of a tuple of them."""
    return sum(map(_bytes_of, found)) if isinstance(found, tuple) else int(getattr(found, "nbytes", 0))


class Memory:
    """Results by key. If they take more than `size` bytes, the least recently used are removed.

    Keys hold weak references to models and layers, so the cache does not keep these in memory.
    """

    def __init__(self, size: int) -> None:
        self._limit, self._size = size, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits, self.misses = {"activations": 0, "explanation": 0}, {"activations": 0, "explanation": 0}

    def attribution(self, model: "Model", photo: "Photo", options: Hashable) -> "Attribution | None":
        """The cached result of the same model for the same bytes and options, or None."""
        found: Attribution | None = self._get("explanation", (weakref.ref(model), photo.sha256, options))
        return found

    def keep(self, model: "Model", photo: "Photo", options: Hashable, found: "Attribution") -> None:
        """Cache the result for a photograph, without the photograph."""
        self._put((weakref.ref(model), photo.sha256, options), found, found.nbytes + _REST)

    def forward(self, layer: "Layer | Closed", images: Any, run: "Forward") -> Any:
        """`run(layer, images)`, or its cached result for an equal input.

        The key contains the input itself, so options that change the input (card, size, sharp) change the key.
        """
        if not self._limit:
            return run(layer, images)
        values = np.ascontiguousarray(images)
        key = weakref.ref(layer), values.shape, hashlib.blake2b(values.data, digest_size=16).digest()
        found = self._get("activations", key)
        if found is None:
            found = run(layer, images)
            self._put(key, found, _bytes_of(found) + _REST)
        return found

    def _get(self, kind: str, key: Hashable) -> Any:
        with self._lock:
            found = self._kept.get(key)
            (self.misses if found is None else self.hits)[kind] += 1
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def _put(self, key: Hashable, value: Any, size: int) -> None:
        with self._lock:
            if size > self._limit or key in self._kept:
                return
            self._kept[key] = value, size
            self._size += size
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1][1]
