"""GridPG (Boehle et al., CVPR 2021): a picture made of four labelled photographs, each of another class.

A map of one class should lie in that class's quarter. The truth is exact and needs no boxes: only the classes of the
user's own images, of which those count that the model answers rightly and surely.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.catalogue.options import ExplainOptions
from camserve.datasets.inputs import Item
from camserve.errors import CamserveError
from camserve.explain.pipeline import explain
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier

# Cells of a mosaic along a side; a photograph counts from this score of its class on; and photographs of other classes
# that are kept to fill the other cells with.
GRID, SURE, POOL = 2, 0.5, 32


@dataclass(frozen=True)
class Mosaic:
    """image: RGB, upright. inside: bool (H, W), the cell of the photograph that it is about. index: its class."""

    image: Image.Image
    inside: npt.NDArray[np.bool_]
    index: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.image.height, self.image.width


class Mosaics:
    """Makes the mosaic of one item, with others of `pool`; any thread may ask. The pool's photographs are read once.

    pool: of labelled items, see `pool_of`. open: reads an item. The same item always gives the same mosaic.
    """

    def __init__(self, model: Classifier, pool: Sequence[Item], open: Callable[[Item], Photo]) -> None:
        self._model, self._pool, self._open = model, list(pool), open
        self._known: dict[str, Image.Image | None] = {}
        self._lock = threading.Lock()

    def of(self, item: Item, photo: Photo) -> Mosaic | None:
        """None where the class is not known, the model is wrong or unsure of it, or there are too few other classes."""
        if item.expected is None or (own := self._tile(item, photo)) is None:
            return None
        number = int.from_bytes(hashlib.sha256(item.name.encode("utf-8", "surrogateescape")).digest()[:8], "big")
        others = list(self._others(item, number))
        if len(others) < GRID**2 - 1:
            return None
        place = number % GRID**2
        tiles = [*others[:place], own, *others[place:]]
        width, height = own.size
        image = Image.new("RGB", (GRID * width, GRID * height))
        for index, tile in enumerate(tiles):
            image.paste(tile, (width * (index % GRID), height * (index // GRID)))
        inside = np.zeros((GRID * height, GRID * width), bool)
        top, left = height * (place // GRID), width * (place % GRID)
        inside[top : top + height, left : left + width] = True
        return Mosaic(image, inside, int(item.expected))

    def _others(self, item: Item, number: int) -> list[Image.Image]:
        """So many tiles as are lacking, each of a class of its own, from a place of the pool on that the item gives."""
        found: list[Image.Image] = []
        classes = {item.expected}
        for step in range(len(self._pool)):
            other = self._pool[(number + step) % len(self._pool)]
            if other.expected in classes or len(found) == GRID**2 - 1:
                continue
            if (tile := self._kept(other)) is not None:
                found.append(tile)
                classes.add(other.expected)
        return found

    def _kept(self, item: Item) -> Image.Image | None:
        with self._lock:
            if item.name in self._known:
                return self._known[item.name]
        try:
            tile = self._tile(item, self._open(item))
        except CamserveError:
            tile = None
        with self._lock:
            return self._known.setdefault(item.name, tile)

    def _tile(self, item: Item, photo: Photo) -> Image.Image | None:
        """What the model's own crop shows, at the size it was trained at; None where it is wrong or unsure."""
        found = explain(self._model, photo, options=ExplainOptions(size="crop", sharp=False))
        answer = found.top(1)[0]
        if answer.class_index != int(item.expected or -1) or (answer.score or 0) < SURE:
            return None
        frame = self._model.frame(photo.size, "crop")
        return photo.image.resize(frame.input, Image.Resampling.BICUBIC, box=frame.box)


def pool_of(items: Iterable[Item]) -> list[Item]:
    """Labelled items, one a class, at most POOL of them."""
    found: dict[str, Item] = {}
    for item in items:
        if len(found) == POOL:
            break
        if item.expected is not None:
            found.setdefault(item.expected, item)
    return list(found.values())
