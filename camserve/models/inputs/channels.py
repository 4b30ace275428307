"""Which channels a network takes, where nobody has said so: tried, once ordinary colours have failed."""

import logging
from contextlib import suppress

from pydantic import ValidationError
from torch import nn

from camserve.config.validation_words import faults_of
from camserve.errors import ModelError, OptionError
from camserve.graph.original.given import Given
from camserve.models.card import Card
from camserve.models.card_input import GREY, Input
from camserve.models.dense import input_of

log = logging.getLogger("camserve")

# Numbers of channels that are tried besides those of the network's convolutions; and the most that are.
_USUAL, _MOST = (1, 2, 4), 32


def met(module: nn.Module, card: Card, labels: int | None, output: str | int | None = None) -> tuple[Given, Card]:
    """The network, met on pictures as its card says, and the card. labels, output: as for `Given`.

    Where that says nothing of channels and the network takes a single one, the card is of grey pictures. Raises
    ModelError, which for any other number of channels says what to write.
    """
    card = card.model_copy(update={"input": input_of(module, card.input)})

    def given(channels: int) -> Given:
        features = card.scores == "embedding"
        numbers = not card.has_scores
        return Given(
            module,
            card.input.sides,
            labels,
            output,
            channels,
            as_numbers=numbers,
            as_features=features,
            region=card.region,
        )

    try:
        found = given(card.input.count)
    except ModelError as error:
        if {"channels", "bands"} & card.input.model_fields_set:
            raise
        for count in _candidates(module):
            with suppress(ModelError):
                found = given(count)
                break
        else:
            raise error
        if count != 1:
            raise ModelError(_which_bands(count)) from None
        card = _of_grey(card)
    if card.input.is_guessed:
        log.warning(
            "the network is given grey pictures, and nobody stated their mean and std, for which %g is a guess: give "
            "mean=, std= in units of 0..255",
            GREY[0],
        )
    return found, card


def _candidates(module: nn.Module) -> list[int]:
    """Numbers of channels to try: of the convolutions in their order, then the usual ones."""
    own = [part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
    return [count for count in dict.fromkeys((*own, *_USUAL)) if count != 3 and count <= _MOST]


def _of_grey(card: Card) -> Card:
    stated = {field: getattr(card.input, field) for field in card.input.model_fields_set}
    for name in {"mean", "std"} & stated.keys():
        stated[name] = stated[name][:1] if len(set(stated[name])) == 1 else stated[name]  # one number stood for all
    try:
        spec = Input(**{**stated, "channels": "L"})
    except ValidationError as error:
        raise OptionError(f"the network takes one channel, grey: {faults_of(error)}") from None
    return card.model_copy(update={"input": spec})


def _which_bands(count: int) -> str:
    listed = list(range(count))
    return (
        f"the network takes {count} channels, where an ordinary picture has 3 colours: say which of a picture's "
        f"samples they are, counted from 0 and in the network's order, with bands={listed}, and their mean and std, "
        "one number each or one for all, in the units of the file"
    )
