"""The least trusted maps of a run, if it asked for trust; see docs/trust.md."""

import heapq
from dataclasses import dataclass, field
from typing import Any

from camserve.findings.results import Row

# The verdict in rows for a map that should not be trusted.
DOUBTFUL = "doubtful"


def is_doubtful(one: Row) -> bool:
    """Whether the trust of an explanation is doubtful; False if the run did not ask for trust."""
    return bool((one.get("trust") or {}).get("verdict") == DOUBTFUL)


@dataclass
class Trusts:
    """Counts of verdicts, and the least trusted maps. most: the number of maps to list."""

    most: int
    verdicts: dict[str, int] = field(default_factory=dict)
    least: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, one: Row) -> None:
        """Count the main explanation of one image, if it has a trust."""
        if (found := one.get("trust")) is None:
            return
        verdict, probability = found["verdict"], found["probability"]
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        if probability is None and verdict != DOUBTFUL:  # trust could not be computed
            return
        entry = {"file": row["file"], "class": one["class_name"], "verdict": verdict, "probability": probability}
        listed = [*self.least, {**entry, "sentence": found["sentence"]}]
        self.least = heapq.nsmallest(self.most, listed, key=lambda each: each["probability"] or 0)

    def to_dict(self) -> dict[str, Any] | None:
        """The counts of verdicts, and the least trusted maps, least first; None if the run did not ask for trust."""
        return {"verdicts": self.verdicts, "least": self.least} if self.verdicts else None
