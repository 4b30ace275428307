"""What the registry says of one method: where it is from, what it needs, what it costs, and when to use it."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Literal

from camserve.catalogue.head_kinds import HeadKind

# Called with (forwards done, forwards in all) while a method runs many of them.
Progress = Callable[[int, int], None]


class Each(StrEnum):
    """What there may be one run for: of the layer, by the symbol that stands for how many there are; or of stages."""

    CHANNEL = "K"
    CELL = "h w"
    STAGE = "stage"
    CHANNEL_OF_STAGE = "channel of every stage"


SYMBOLS = (Each.CHANNEL, Each.CELL)


class Runs(StrEnum):
    """What a method runs, and what its time is counted in."""

    FORWARD = "forward of the network"
    GRADIENT = "forward and backward of the network"
    HEAD = "forward of the head"


@dataclass(frozen=True)
class Facts:
    """What the cost of a method depends on, at one layer, for one picture.

    channels: those that fire anywhere. cells: of the layer. head: behind it. stages: the channels of each stage of the
    network up to the layer.
    """

    channels: int
    cells: int
    head: HeadKind
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What it costs, as `str` says it: "35 K forward passes".

    count: how often the first thing named in `words` is run, for each of `each` where that is given; None where that
    has no number. words: what is run, with {n} for the number. free_under: the kind of head that needs none of it.
    of: what is run, where it takes time; of two things the one that takes more.
    """

    count: int | None
    words: str
    each: Each | None = None
    free_under: HeadKind | None = None
    of: Runs | None = None

    def __str__(self) -> str:
        symbol = self.each if self.each in SYMBOLS else None
        number = symbol if symbol and self.count == 1 else f"{self.count} {symbol or ''}".rstrip()
        free = f"; no cost under a {self.free_under} head" if self.free_under else ""
        return self.words.format(n=number) + free

    def counted(self, channels: int, cells: int, head: HeadKind) -> str:
        """The same, said of a layer of so many channels and cells, before such a head."""
        if head is self.free_under:
            return str(NOTHING)
        many = {Each.CHANNEL: channels, Each.CELL: cells}.get(self.each, 1) if self.each else 1
        return self.words.format(n=(self.count or 0) * many)

    def runs(self, facts: Facts) -> int:
        """How often `of` is run; 0 where nothing is run that takes time."""
        if self.of is None or facts.head is self.free_under:
            return 0
        many = {
            Each.CHANNEL: facts.channels,
            Each.CELL: facts.cells,
            Each.STAGE: len(facts.stages),
            Each.CHANNEL_OF_STAGE: sum(facts.stages),
        }
        return (self.count or 0) * (many[self.each] if self.each else 1)

    def seconds(self, facts: Facts, one: Mapping[Runs, float]) -> float:
        """About how long it takes. one: the seconds of one run of each kind."""
        return 0.0 if self.of is None else self.runs(facts) * one[self.of]


NOTHING = Cost(0, "no extra forward pass")


@dataclass(frozen=True)
class Note:
    """What people read about a method before they choose it.

    formula: of the raw map. use: when to take it. fails: what it cannot show, or gets wrong.

    Symbols, the same for all: A_k activations of channel k, S_c logits, W the linear layer's weights, T the target,
    g_k = dT/dA_k, x the network's input, P the target of class probabilities, H_k the map A_k laid over the input and
    scaled to 0..1. T(A) and T(x) are the target of a changed layer or image.
    """

    formula: str
    use: str
    fails: str


class Needs(StrEnum):
    """What a network must have for a method to go with it. A linear head: global average pooling, then linear."""

    ANY_HEAD = "any head"
    LINEAR_HEAD = "linear head"
    RELUS = "ReLUs"
    ATTENTION = "attention"


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    name: as users write it. title: as the paper calls it. summary: what the map shows, in one line. source: the paper,
    its first author first. function: "module.function" of methods/. needs: see Needs. unit: "logits" where the map's
    mean plus the bias is the logit. cost: what it runs besides the one forward pass that the prediction needs.
    lattice: whether the map has one value a cell of the layer, or one a pixel of the network's input. check: a warning
    that stands beside every map of it. scored: whether it asks for the target of logits, or of class probabilities.
    at_layer: whether the layer that was chosen makes a difference; of_class: whether the class does. note: formula, use
    and failings.
    """

    name: str
    title: str
    summary: str
    source: str
    function: str
    needs: Needs = Needs.ANY_HEAD
    unit: Literal["logits", "arbitrary"] = "arbitrary"
    cost: Cost = NOTHING
    lattice: Literal["layer", "input"] = "layer"
    check: str = ""
    scored: Literal["logit", "probability"] = "logit"
    at_layer: bool = True
    of_class: bool = True
    _: KW_ONLY
    note: Note

    def described(self) -> dict[str, object]:
        """All that people may want to know, for JSON."""
        facts = {**vars(self), "cost": str(self.cost), **vars(self.note)}
        return {key: value for key, value in facts.items() if key not in ("function", "note")}
