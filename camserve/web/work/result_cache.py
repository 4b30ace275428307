"""What was computed, kept for who asks again: the activations of an input, and whole explanations without pixels."""

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from camserve.explain.run import Forward, Observed
    from camserve.explanation.attribution import Attribution
    from camserve.images.reading import Photo
    from camserve.model import Model
    from camserve.models.layer import Layer


# Bytes of what is small beside the arrays: names, placement, the key.
_REST = 4096


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

    def forward(self, layer: "Layer", images: "Tensor", run: "Forward") -> "Observed":
        """`run(layer, images)`, without running the network where it has been done with an equal input.

        The key is the input itself, so whatever makes another input (the model's card, size, sharp) needs no thought.
        """
        if not self._limit:
            return run(layer, images)
        key = (
            weakref.ref(layer),
            images.shape,
            hashlib.blake2b(images.contiguous().numpy().data, digest_size=16).digest(),
        )
        found: Observed | None = self._get("activations", key)
        if found is None:
            found = run(layer, images)
            tensors = (found[0], *found[1], found[2])
            self._put(key, found, sum(getattr(one, "nbytes", 0) for one in tensors) + _REST)
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
