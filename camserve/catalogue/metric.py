"""The fields of a metric in the registry: what it tests, what it needs, and what its number can and cannot tell."""

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

    name: the name that users write. title: the name in the paper. summary: what it measures, in one line. source: the
    paper, first author first. group: what it tests. function: "module.function" of metrics/. asks: what it needs.
    more_is_better: whether a higher number is better; None if neither is better. range: the lowest and the highest
    possible value, None for no limit. unit: the unit of the number. forwards: how often it runs the network, with the
    run of the unchanged input. maps: how many more maps it makes, None for one per depth or class. definition: the
    frozen definition with its parameters. tells: what the number says. does_not_tell: what readers may wrongly conclude
    from it.
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
        """Which numbers are better: "higher", "lower" or "neither"."""
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
        """All facts for people, as a dict for JSON."""
        facts = {key: value for key, value in vars(self).items() if key != "function"}
        return {**facts, "better": self.better, "cost": self.cost, "range": list(self.range)}
