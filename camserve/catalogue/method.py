"""The fields of a method in the registry: its source, what it needs, what it costs, and when to use it."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Literal

from camserve.catalogue.head_kinds import HeadKind

# A method of many forward passes calls it with (passes done, passes in total).
Progress = Callable[[int, int], None]


class Each(StrEnum):
    """The part of a network that a method repeats its runs for. CHANNEL and CELL have the symbols of their counts."""

    CHANNEL = "K"
    CELL = "h w"
    STAGE = "stage"
    CHANNEL_OF_STAGE = "channel of every stage"


SYMBOLS = (Each.CHANNEL, Each.CELL)


class Runs(StrEnum):
    """The kind of run that a method repeats; its time is counted in runs of this kind."""

    FORWARD = "forward of the network"
    GRADIENT = "forward and backward of the network"
    HEAD = "forward of the head"


@dataclass(frozen=True)
class Facts:
    """What the cost of a method depends on, for one layer and one picture.

    channels: the number of channels that are active anywhere. cells: the number of cells of the layer. head: the kind
    of head after the layer. stages: the number of channels of each stage of the network up to the layer.
    """

    channels: int
    cells: int
    head: HeadKind
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """The cost of a method; `str` gives it in words, such as "35 K forward passes".

    count: the number of runs, for each `each` if that is given; None if the cost has no number. words: what is run,
    with {n} in place of the number. free_under: the kind of head under which the method costs nothing. of: the kind of
    run that takes the time; None if no run takes time.
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
        """The cost in words for a layer with so many channels and cells, followed by such a head."""
        if head is self.free_under:
            return str(NOTHING)
        many = {Each.CHANNEL: channels, Each.CELL: cells}.get(self.each, 1) if self.each else 1
        return self.words.format(n=(self.count or 0) * many)

    def runs(self, facts: Facts) -> int:
        """The number of runs of the kind `of`; 0 if no run takes time."""
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
        """The estimated time in seconds. one: the seconds of one run of each kind."""
        return 0.0 if self.of is None else self.runs(facts) * one[self.of]


NOTHING = Cost(0, "no extra forward pass")


@dataclass(frozen=True)
class Note:
    """What people read about a method before they choose it.

    formula: the formula of the raw map. use: when to use the method. fails: what it cannot show, or gets wrong.

    All formulas use the same symbols: A_k activations of channel k, S_c logits, W the linear layer's weights, T the
    target, g_k = dT/dA_k, x the network's input, P the target of class probabilities, H_k the map A_k laid over the
    input and scaled to 0..1. T(A) and T(x) are the target for a changed layer A and for a changed image x.
    """

    formula: str
    use: str
    fails: str


class Needs(StrEnum):
    """What a network must have for a method. A linear head is global average pooling, then one linear layer."""

    ANY_HEAD = "any head"
    LINEAR_HEAD = "linear head"
    RELUS = "ReLUs"
    ATTENTION = "attention"


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    name: the name that users write. title: the name in the paper. summary: what the map shows, in one line. source: the
    paper, first author first. function: "module.function" of methods/. needs: see Needs. unit: "logits" if the map's
    mean plus the bias is the logit. cost: what it runs besides the one forward pass of the prediction. lattice: "layer"
    if the map has one value per cell of the layer, "input" if it has one per pixel of the network's input. check: a
    warning that is shown beside every map of the method. scored: whether the target is a function of logits or of class
    probabilities. at_layer: whether the map depends on the chosen layer. of_class: whether the map depends on the
    class. note: formula, use and failings.
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
        """All facts for people, as a dict for JSON."""
        facts = {**vars(self), "cost": str(self.cost), **vars(self.note)}
        return {key: value for key, value in facts.items() if key not in ("function", "note")}
