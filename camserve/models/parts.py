"""The parts of a classifier."""

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
    """A card, and what is needed to read it.

    folder: start of relative paths. labels: instead of the card's. home: the card's file, None if there is none.
    """

    card: cards.Card
    folder: Path
    name: str
    labels: Labels | None
    settings: config.Settings
    home: Path | None = None


class Parts(NamedTuple):
    """The parts of a classifier.

    module: the network, frozen. labels: None if nobody names the classes; by output for a network with several.
    weights_sha256: of the file of weights, None for a module. home: the card's file, None if there is none. checkpoint:
    the weights under the network's names, None without a file of weights; prefix: was removed from those names.
    output: instead of the card's. found_labels: class names in the file of weights; used if nobody else
    names the classes and their number is right. has_layer: whether the caller names a layer instead of the card's.
    words: encodes other sentences as classes, None for a network with fixed classes. closed: the closed form of a model
    file, or of a network in the cache; `make` then makes the module when it is needed.
    kept_at: the cache file to write the closed form of a card's network to, for the next start.
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
        """The module; it is made now if it does not exist yet."""
        if self.module is not None:
            return self.module
        assert self.make is not None
        return self.make()
