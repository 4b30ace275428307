"""What was computed, kept for who asks again: the activations of an input, and whole explanations without pixels."""

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


# Bytes of what is small beside the arrays: names, placement, the key.
_REST = 4096


def _bytes_of(found: Any) -> int:
    """Of arrays or tensors, and of tuples of them."""
    return sum(map(_bytes_of, found)) if isinstance(found, tuple) else int(getattr(found, "nbytes", 0))


class Memory:
    """Results by key; the least recently used go where all together take more than `size` bytes.

    Keys hold weak references to models and layers: what went from memory is never found again, and is not kept there.
    """

    def __init__(self, size: int) -> None:
        self._limit, self._size = size, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits, self.misses = {"activations": 0, "explanation": 0}, {"activations": 0, "explanation": 0}

    def attribution(self, model: "Model", photo: "Photo", options: Hashable) -> "Attribution | None":
        """What was found in the same bytes by the same model with equal options; None: not known."""
        found: Attribution | None = self._get("explanation", (weakref.ref(model), photo.sha256, options))
        return found

    def keep(self, model: "Model", photo: "Photo", options: Hashable, found: "Attribution") -> None:
        """Keep what was found in a photograph, without it."""
        self._put((weakref.ref(model), photo.sha256, options), found, found.nbytes + _REST)

    def forward(self, layer: "Layer | Closed", images: Any, run: "Forward") -> Any:
        """`run(layer, images)`, without running the network where it has been done with an equal input.

        The key is the input itself, so whatever makes another input (the model's card, size, sharp) needs no thought.
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
