"""One check of the checklist: the measured numbers, their limit, and what the result means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camserve.system.json_values import finite

Number = float | int | str | list[float]


@dataclass(frozen=True)
class Limit:
    """The limit of a number of a check. number: its name. most, least: the largest and the smallest allowed value."""

    number: str
    most: float | None = None
    least: float | None = None

    def holds(self, numbers: Mapping[str, Number]) -> bool:
        """Whether the number is within the limit; NaN is not."""
        value = numbers[self.number]
        assert isinstance(value, float | int)
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        return f"at most {self.most:g}" if self.most is not None else f"at least {self.least:g}"


@dataclass(frozen=True)
class Check:
    """The result of one check. passed: None if the check cannot tell or does not apply. numbers: measured, by name.

    limit: the limit of one of the numbers, or None. sentence: what the result means.
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
        """The number that decides, and its limit."""
        if self.limit is None:
            return ""
        value = self.numbers[self.limit.number]
        return f"{self.limit.number} {value:.2g} ({self.limit})"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; limit: {"number", "most", "least"} or None. Infinite numbers and NaN are None."""
        facts = {**vars(self), "numbers": dict(self.numbers), "limit": self.limit and vars(self.limit)}
        return {key: finite(value) for key, value in facts.items()}


def held(name: str, numbers: Mapping[str, Number], limit: Limit, good: str, bad: str) -> Check:
    """Make a check whose limit decides: it gets the sentence `good` if the limit holds, else `bad`."""
    passed = limit.holds(numbers)
    return Check(name, passed, numbers, limit, good if passed else bad)


def untold(name: str, why: str, numbers: Mapping[str, Number] | None = None) -> Check:
    """Make a check that cannot tell, or does not apply. why: the sentence."""
    return Check(name, None, numbers or {}, None, why)
