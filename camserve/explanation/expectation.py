"""The class that an image shows, compared with the model's answer."""

from typing import Any

from camserve.catalogue.targets import EXPECTED, PREDICTED
from camserve.explanation.attribution import Attribution, rank_of


def expected_facts(found: Attribution) -> dict[str, Any] | None:
    """Return class_index, class_name, score, rank (1 is the predicted class) and right for JSON; None if unknown.

    right: whether the model predicts that class.
    """
    if found.expected is None:
        return None
    answer, rank = found.answer_of(found.expected), rank_of(found, found.expected)
    return {
        "class_index": answer.class_index,
        "class_name": answer.class_name,
        "score": answer.score,
        "rank": rank,
        "right": rank == 1,
    }


def missed(found: Attribution) -> str | None:
    """Return a warning if the predicted class is not the expected class; None if it is, or if no class is expected."""
    if found.expected is None or (rank := rank_of(found, found.expected)) == 1:
        return None
    best, expected = found.top(1)[0], found.answer_of(found.expected)
    asked = (found.target.index, found.target.against) == (best.class_index, expected.class_index)
    return (
        f"the model says '{best.class_name}' {best.in_short}; expected was '{expected.class_name}', its number {rank} "
        f"with {expected.in_short}" + ("" if asked else f"; try target {PREDICTED}-{EXPECTED}")
    )
