"""What the registry says of one metric: what it tests, what it needs, and what its number can and cannot tell."""

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum


class Group(StrEnum):
    """What a metric tests."""

    FAITHFULNESS = "faithfulness"
    LOCALISATION = "localisation"
    RANDOMISATION = "randomisation"
    ROBUSTNESS = "robustness"
    COMPLEXITY = "complexity"


class Asks(StrEnum):
    """What a metric needs."""

    HEAT = "the map"
    MASK = "the map and where the object is"
    SUBJECT = "the map and the network"
    WEIGHTS = "the network with random weights"
    CLASSES = "maps of other classes"
    IMAGES = "labelled images of yours"


@dataclass(frozen=True)
class Metric:
    """One entry of the registry.

    name: as users write it. title: as the paper calls it. summary: what it measures, in one line. source: the paper,
    its first author first. group: what it tests. function: "module.function" of metrics/. asks: what it needs.
    more_is_better: None where neither is. range: the lowest and the highest value there can be, None for no end. unit:
    what it is counted in. forwards: how often it runs the network, the input itself counted. maps: how many maps are
    made again, None for one of each depth or class. definition: frozen, with its parameters. tells, does_not_tell: what
    the number says, and what it is easily taken for.
    """

    name: str
    title: str
    summary: str
    source: str
    group: Group
    function: str
    asks: Asks
    more_is_better: bool | None
    range: tuple[float | None, float | None]
    unit: str
    forwards: int = 0
    maps: int | None = 0
    _: KW_ONLY
    definition: str
    tells: str
    does_not_tell: str

    @property
    def better(self) -> str:
        """Which numbers are better, in a word."""
        return {True: "higher", False: "lower", None: "neither"}[self.more_is_better]

    @property
    def cost(self) -> str:
        """What it runs, in words."""
        words = ["1 forward pass" if self.forwards == 1 else f"{self.forwards} forward passes"] if self.forwards else []
        if self.maps is None:
            words.append("a map for each depth" if self.asks is Asks.WEIGHTS else "a map for each class")
        elif self.maps:
            words.append("1 map" if self.maps == 1 else f"{self.maps} maps")
        return " and ".join(words) or "nothing"

    def described(self) -> dict[str, object]:
        """All that people may want to know, for JSON."""
        facts = {key: value for key, value in vars(self).items() if key != "function"}
        return {**facts, "better": self.better, "cost": self.cost, "range": list(self.range)}
