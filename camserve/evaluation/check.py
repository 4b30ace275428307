"""One line of the checklist: what was measured, which limit it is held to, and what that means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camserve.system.json_values import finite

Number = float | int | str | list[float]


@dataclass(frozen=True)
class Limit:
    """What a number of a check is held to. number: its name; most, least: the largest and the smallest allowed."""

    number: str
    most: float | None = None
    least: float | None = None

    def holds(self, numbers: Mapping[str, Number]) -> bool:
        """Whether it does; a number that is NaN holds no limit."""
        value = numbers[self.number]
        assert isinstance(value, float | int)
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        return f"at most {self.most:g}" if self.most is not None else f"at least {self.least:g}"


@dataclass(frozen=True)
class Check:
    """One check. passed: None where it cannot tell or does not apply. numbers: what was measured, by name.

    limit: what was held to it, None where nothing was. sentence: what this means, in plain words.
    """

    name: str
    passed: bool | None
    numbers: Mapping[str, Number]
    limit: Limit | None
    sentence: str

    @property
    def mark(self) -> str:
        """ "ok", "FAILED" or "cannot tell"."""
        return {True: "ok", False: "FAILED", None: "cannot tell"}[self.passed]

    @property
    def measured(self) -> str:
        """The number that counts, and its limit."""
        if self.limit is None:
            return ""
        value = self.numbers[self.limit.number]
        return f"{self.limit.number} {value:.2g} ({self.limit})"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; limit: {"number", "most", "least"} or None. What is not finite is None."""
        facts = {**vars(self), "numbers": dict(self.numbers), "limit": self.limit and vars(self.limit)}
        return {key: finite(value) for key, value in facts.items()}


def held(name: str, numbers: Mapping[str, Number], limit: Limit, good: str, bad: str) -> Check:
    """A check whose limit decides which of two sentences is true."""
    passed = limit.holds(numbers)
    return Check(name, passed, numbers, limit, good if passed else bad)


def untold(name: str, why: str, numbers: Mapping[str, Number] | None = None) -> Check:
    """A check that cannot tell, or does not apply."""
    return Check(name, None, numbers or {}, None, why)
