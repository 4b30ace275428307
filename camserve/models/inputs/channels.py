"""Which channels a network takes, if nobody stated them: other numbers are tried after three channels have failed."""

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

# Usual numbers of channels, tried after those of the network's convolutions; and the largest number to try.
_USUAL, _MOST = (1, 2, 4), 32


def met(module: nn.Module, card: Card, labels: int | None, output: str | int | None = None) -> tuple[Given, Card]:
    """Inspect the network with the card's input; return both. labels, output: as for `Given`.

    If the card states no channels and the network takes one, the card becomes one of grey pictures. Raises
    ModelError; for any other number of channels it says what to write.
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
            "the network takes grey pictures, and nobody stated their mean and std; %g is a guess: give "
            "mean=, std= in units of 0..255",
            GREY[0],
        )
    return found, card


def _candidates(module: nn.Module) -> list[int]:
    """Numbers of channels to try: first those of the convolutions, then the usual ones."""
    own = [part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
    return [count for count in dict.fromkeys((*own, *_USUAL)) if count != 3 and count <= _MOST]


def _of_grey(card: Card) -> Card:
    stated = {field: getattr(card.input, field) for field in card.input.model_fields_set}
    for name in {"mean", "std"} & stated.keys():
        stated[name] = stated[name][:1] if len(set(stated[name])) == 1 else stated[name]  # one number was for all
    try:
        spec = Input(**{**stated, "channels": "L"})
    except ValidationError as error:
        raise OptionError(f"the network takes one channel, grey: {faults_of(error)}") from None
    return card.model_copy(update={"input": spec})


def _which_bands(count: int) -> str:
    listed = list(range(count))
    return (
        f"the network takes {count} channels, but an ordinary picture has 3 colours: list the samples of the picture "
        f"to use, counted from 0 and in the network's order, with bands={listed}, and give their mean and std, "
        "one number each or one for all, in the units of the file"
    )
