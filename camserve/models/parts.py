"""What a classifier is made of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from camserve.config import schema as config
from camserve.models import card as cards
from camserve.models.output_names import Labels, Output

if TYPE_CHECKING:
    from torch import nn

    from camserve.models.architectures.zero_shot import Words
    from camserve.models.compiled.closed import Closed
    from camserve.models.compiled.closed_network import ClosedFacts
    from camserve.models.weights.checkpoints import Checkpoint


class CardSource(NamedTuple):
    """A card, and all that says what its words mean.

    folder: what its files are relative to. labels: in place of the card's. home: the card's file, None without one.
    """

    card: cards.Card
    folder: Path
    name: str
    labels: Labels | None
    settings: config.Settings
    home: Path | None = None


class Parts(NamedTuple):
    """What a classifier is made of.

    module: the network, frozen. labels: None where nobody names the classes; by output for a network with several.
    weights_sha256: of the file they came from, None for a module. home: the card's file, None without one. checkpoint:
    the weights under the network's names, None where it was made without; prefix: what was taken off those names.
    output: in place of the card's. found_labels: what the file of weights holds besides; they count where nobody else
    names the classes, and where they are as many. has_layer: whether who loads a card names the layer in its place.
    words: what makes classes of other sentences, None of a network whose classes are fixed. closed: what a model file,
    or a network that was met before, gives in closed form; its module is then made, by `make`, when something else is
    asked of it. kept_at: the file in which the closed form of a card's network is to be kept for the next start.
    """

    module: "nn.Module | None"
    card: cards.Card
    name: str
    labels: Labels | None
    settings: config.Settings
    weights_sha256: str | None = None
    home: Path | None = None
    checkpoint: "Checkpoint | None" = None
    prefix: str = ""
    output: Output | None = None
    found_labels: Sequence[str] | None = None
    has_layer: bool = False
    words: "Words | None" = None
    closed: "Closed | ClosedFacts | None" = None
    make: "Callable[[], nn.Module] | None" = None
    kept_at: Path | None = None

    def network(self) -> "nn.Module":
        """The module, made now where it has not been."""
        if self.module is not None:
            return self.module
        assert self.make is not None
        return self.make()
