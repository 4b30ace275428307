"""Fills the fields that a card leaves open with what the network's library states."""

import logging
from typing import Any

from camserve.models.architectures.brought import Brought
from camserve.models.card import Card, Input, Resize

log = logging.getLogger("camserve")


def completed(card: Card, brought: Brought, name: str) -> Card:
    """The card, with open fields of input and scores filled by what the network's library states."""
    stated = {field: getattr(card.input, field) for field in card.input.model_fields_set}
    others = card.input.count != 3  # the library states nothing about other channels
    known = {
        field: value
        for field, value in brought.input.items()
        if not (others and field in ("mean", "std", "channels", "resize"))
    }
    if "crop" in stated:
        known.pop("resize", None)
    elif "size" in stated and "resize" in known:
        larger = min(card.input.sides) / min(Input(size=known["size"]).sides)
        known["resize"] = Resize.model_validate(known["resize"]).enlarged(larger)
    if brought.guess and not {"mean", "std"} <= stated.keys():
        log.warning(
            "%s: the input is a guess, since %s: give size=, mean=, std= in units of 0..255", name, brought.guess
        )
    changes: dict[str, Any] = {"input": Input(**{**known, **stated})}
    if brought.scores is not None and "scores" not in card.model_fields_set:
        changes["scores"] = brought.scores
    return card.model_copy(update=changes)
