"""GridPG (Boehle et al., CVPR 2021): a picture made of four labelled photographs, each of another class.

The map of a class should lie in that class's quarter. This ground truth is exact and needs no boxes, only the classes
of the user's images. Only images count that the model answers correctly with a score of SURE or more.
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

# The number of cells along a side of a mosaic; the least score of a photograph's class; the number of photographs that
# are kept to fill the other cells.
GRID, SURE, POOL = 2, 0.5, 32


@dataclass(frozen=True)
class Mosaic:
    """A mosaic about one photograph.

    image: RGB, upright. inside: bool (H, W), the cell of that photograph. index: the class of that photograph.
    """

    image: Image.Image
    inside: npt.NDArray[np.bool_]
    index: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.image.height, self.image.width


class Mosaics:
    """Makes the mosaic of an item, with other items of `pool`. Any thread may call it. It reads the pool's images once.

    pool: labelled items, see `pool_of`. open: reads an item. The same item always gives the same mosaic.
    """

    def __init__(self, model: Classifier, pool: Sequence[Item], open: Callable[[Item], Photo]) -> None:
        self._model, self._pool, self._open = model, list(pool), open
        self._known: dict[str, Image.Image | None] = {}
        self._lock = threading.Lock()

    def of(self, item: Item, photo: Photo) -> Mosaic | None:
        """The mosaic; None if the class is not known, the model is wrong or unsure, or there are too few classes."""
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
        """The tiles for the other cells, each of another class. number: where in the pool the search starts."""
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
        """The model's own crop of a photograph, at the training size; None if the model is wrong or unsure."""
        found = explain(self._model, photo, options=ExplainOptions(size="crop", sharp=False))
        answer = found.top(1)[0]
        if answer.class_index != int(item.expected or -1) or (answer.score or 0) < SURE:
            return None
        frame = self._model.frame(photo.size, "crop")
        return photo.image.resize(frame.input, Image.Resampling.BICUBIC, box=frame.box)


def pool_of(items: Iterable[Item]) -> list[Item]:
    """The first labelled item of each class, at most POOL items."""
    found: dict[str, Item] = {}
    for item in items:
        if len(found) == POOL:
            break
        if item.expected is not None:
            found.setdefault(item.expected, item)
    return list(found.values())
