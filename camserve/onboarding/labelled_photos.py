"""Reads photographs whose class is known: a folder with a folder for each class, or a table of files and classes."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

from camserve.catalogue.class_names import resolve_class
from camserve.config.schema import Settings
from camserve.datasets.inputs import Item, find_items
from camserve.errors import ImageError, OptionError
from camserve.images.arrays.pixel_arrays import pixels_of
from camserve.images.reading import Photo
from camserve.models.inputs.local_photos import read_local
from camserve.models.labels import with_wnids
from camserve.onboarding.photo_trials import Shown

# The most photographs, because more only take longer; and pixels of the short side, which is enough for any network.
MOST, _SIDE = 100, 1024


def read_labelled(
    source: Path, labels: Sequence[str] | None, classes: int, settings: Settings
) -> tuple[Shown, Sequence[str] | None]:
    """Read at most `MOST` photographs, alternately of each class; return them and the names of the classes.

    source: a folder with a folder for each class, or a table (.csv) with the columns file and class. labels: the
    model's class names; without them, digits are indices, and other names are used in alphabetical order, as by
    torchvision's ImageFolder. classes: the number of classes of the network.
    Raises OptionError if no class is known, or the model has no such class; ImageError if no photograph can be read.
    """
    found = find_items(str(source), source, folders_are_classes=source.is_dir())
    items = [item for item in found if item is not None and item.expected is not None]
    if not items:
        raise OptionError(
            f"'{source}' has no photographs whose class is known: put them into folders named by their classes, or "
            "give a .csv table with the columns file and class"
        )
    names = labels or _names_of(items, classes, source)
    known = with_wnids(names) if names else [f"class {index}" for index in range(classes)]
    groups: dict[int, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.name):
        groups.setdefault(_class_of(item, known), []).append(item)
    shuffled = [[(index, item) for item in _shuffled(group)] for index, group in sorted(groups.items())]
    order = (pair for pair in chain(*zip_longest(*shuffled)) if pair is not None)
    photos = list[tuple[int, Photo]]()
    for index, item in order:
        if len(photos) == MOST:
            break
        try:
            photo = read_local(item.path, settings)
        except ImageError:  # the others are enough
            continue
        photos.append((index, _small(photo)))
    if not photos:
        raise ImageError(f"none of the {len(items)} photographs of '{source}' can be read")
    return Shown([photo for _, photo in photos], [index for index, _ in photos]), names


def _names_of(items: Sequence[Item], classes: int, source: Path) -> Sequence[str] | None:
    found = sorted({item.expected for item in items if item.expected is not None})
    if all(name.removeprefix("#").isdecimal() for name in found):
        return None
    if len(found) != classes:
        raise OptionError(
            f"'{source}' has {len(found)} classes, but the network has {classes}; give them in order with --labels"
        )
    return found


def _class_of(item: Item, labels: Sequence[str]) -> int:
    assert item.expected is not None
    try:
        return resolve_class(item.expected, labels)
    except OptionError as error:
        raise OptionError(f"{item.path}: {error}") from None


def _shuffled(items: list[Item]) -> list[Item]:
    return random.Random(0).sample(items, len(items))


def _small(photo: Photo) -> Photo:
    """Shrink a large photograph by a whole factor, because all photographs stay in memory."""
    factor = min(photo.size) // _SIDE
    return replace(photo, pixels=pixels_of(photo.image.reduce(factor))) if factor > 1 else photo
