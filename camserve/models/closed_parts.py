"""Parts of a classifier that is explained in closed form. It loads torch only when something else is asked.

The model is a model file, or a card's network that an earlier start inspected and cached.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures.brought import brought_by_file
from camserve.models.architectures.completing import completed
from camserve.models.card_files import check_model_file, check_sha256
from camserve.models.compiled.closed_file import closed_file_of
from camserve.models.compiled.kept_closed import opened, place_of
from camserve.models.compiled.model_file import is_model_file, read_model_file
from camserve.models.describing import files_and_labels
from camserve.models.parts import CardSource, Parts

if TYPE_CHECKING:
    from torch import nn


def closed_parts(source: CardSource) -> Parts | None:
    """The parts of a card's model file, if closed forms are enough for what the card asks.

    None if the network itself must be loaded.
    """
    card, folder, name, labels, settings, home = source
    if settings.compute.precision == "int8":  # quantising needs the network
        return None
    asks_more = card.layer is not None or card.output is not None or card.region is not None or card.arguments
    if not is_model_file(card.architecture) or asks_more or card.input.bands is not None or not card.has_scores:
        return None
    files, labels = files_and_labels(card, labels, home, settings.models)
    path = files["architecture"]
    file, measured = read_model_file(path), card.placement
    whole = completed(card, brought_by_file(file), name)
    offset = None if measured is None else measured.offset
    closed = closed_file_of(file, whole.input.sides, settings.compute, offset)
    if closed is None or (labels is not None and outputs.count_of(labels, None) != closed.classes):
        return None  # loading the network reports what is wrong
    if measured is not None and measured.layer != closed.name:
        return None
    make: Callable[[], nn.Module] = partial(_network, card, folder)
    sha256 = check_model_file(path, card.sha256)
    return Parts(None, whole, name, labels, settings, sha256, home, closed=closed, make=make)


def kept_parts(source: CardSource) -> tuple[Parts | None, Path | None]:
    """The parts of a card whose network an earlier start cached, None if there are none; and the place of the cache.

    The place is None if the network cannot be cached.
    """
    card, _, name, labels, settings, home = source
    asks_more = card.output is not None or card.region is not None or card.arguments or card.zero_shot
    if home is None or asks_more or isinstance(labels, Mapping) or is_model_file(card.architecture):
        return None, None
    files, names = files_and_labels(card, labels, home, settings.models)
    if isinstance(names, Mapping) or "weights" not in files:
        return None, None
    sha256 = check_sha256(files["weights"], card.sha256)
    place = place_of(card, sha256, None if names is None else tuple(names), settings.compute)
    if place is None or (found := opened(place, settings.compute)) is None:
        return None, place
    facts, whole, known = found
    make = partial(_assembled, source)
    return Parts(None, whole, name, known, settings, sha256, home, closed=facts, make=make), place


def _assembled(source: CardSource) -> "nn.Module":
    from camserve.models.assembling import assemble

    return assemble(source).network()


def _network(card: cards.Card, folder: Path) -> "nn.Module":
    from camserve.models.architectures.by_name import build
    from camserve.models.snapshot import frozen

    return frozen(build(card.architecture, None, folder=folder))
