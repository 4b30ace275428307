"""What was computed, kept for who asks again: the activations of an input, and whole explanations without pixels."""

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from camserve.timing import Timing, observed

if TYPE_CHECKING:
    from torch import Tensor

    from camserve.explanation import Explanation
    from camserve.heads import Carried
    from camserve.images import Photo
    from camserve.layers import Layer
    from camserve.models import Model

    Seen = tuple[Tensor, Carried, Tensor]

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

    def explanation(self, model: "Model", photo: "Photo", options: Hashable) -> "Explanation | None":
        """An explanation of the same bytes by the same model with equal options, on this photo; None: not known."""
        from camserve.explanation import Explanation

        found = self._get("explanation", (weakref.ref(model), photo.sha256, options))
        return None if found is None else Explanation(photo=photo, model=model, **found)

    def keep(self, explanation: "Explanation", options: Hashable) -> None:
        """Keep all of an explanation but the photograph and the model."""
        names = [one.name for one in fields(explanation) if one.name not in ("photo", "model")]
        account = explanation.account
        size = explanation.map.nbytes + explanation.logits.nbytes + (account.activations.nbytes if account else 0)
        key = (weakref.ref(explanation.model), explanation.photo.sha256, options)
        self._put(key, {name: getattr(explanation, name) for name in names}, size + _REST)

    def forward(self, layer: "Layer", images: "Tensor", timing: Timing) -> "Seen":
        """`layer.observe(images)`, without running the network where it has been done with an equal input.

        The key is the input itself, so whatever makes another input (the model's card, size, sharp) needs no thought.
        """
        if not self._limit:
            return observed(layer, images, timing)
        key = (
            weakref.ref(layer),
            images.shape,
            hashlib.blake2b(images.contiguous().numpy().data, digest_size=16).digest(),
        )
        found: Seen | None = self._get("activations", key)
        if found is None:
            found = observed(layer, images, timing)
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
