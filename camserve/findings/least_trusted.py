"""Which maps of a folder can be trusted least, where a run asked for trust; see docs/trust.md."""

import heapq
from dataclasses import dataclass, field
from typing import Any

from camserve.findings.results import Row

# The verdict of a map that is not to be trusted, as rows have it.
DOUBTFUL = "doubtful"


def is_doubtful(one: Row) -> bool:
    """Whether an explanation's map is not to be trusted; False also where nobody asked."""
    return bool((one.get("trust") or {}).get("verdict") == DOUBTFUL)


@dataclass
class Trusts:
    """What a folder's maps show of trust. most: images that are listed."""

    most: int
    verdicts: dict[str, int] = field(default_factory=dict)
    least: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, one: Row) -> None:
        """Count one image's main explanation, where its trust was asked for."""
        if (found := one.get("trust")) is None:
            return
        verdict, probability = found["verdict"], found["probability"]
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        if probability is None and verdict != DOUBTFUL:  # it cannot be told
            return
        entry = {"file": row["file"], "class": one["class_name"], "verdict": verdict, "probability": probability}
        listed = [*self.least, {**entry, "sentence": found["sentence"]}]
        self.least = heapq.nsmallest(self.most, listed, key=lambda each: each["probability"] or 0)

    def to_dict(self) -> dict[str, Any] | None:
        """How many maps have each verdict, and the least trusted, first; None where nobody asked."""
        return {"verdicts": self.verdicts, "least": self.least} if self.verdicts else None
