"""The verdict on a suspected shortcut, from the scores of the class with its place covered.

The cost of covering is how much more of the class's score is lost than by covering the mirror image of the place.
`benchmarks/covering.py` measures how often a place reaches CONFIRMS or stays below REFUTES by chance.
"""

from dataclasses import asdict, dataclass
from typing import Any

CONFIRMED, REFUTED, CANNOT_TELL = "confirmed", "refuted", "cannot tell"
CONFIRMS, REFUTES = 0.2, 0.1  # shares of the score: costs that confirm and refute a shortcut
AGREEING = 0.75  # covering must cost more in this share of the images
FEWEST_COVERED = 4  # images


@dataclass(frozen=True)
class Covering:
    """Mean scores of the class: before, with the place covered, and with its mirror image covered.

    worse: the number of images in which covering the place cost more than covering the mirror image.
    """

    images: int
    before: float
    covered: float
    elsewhere: float
    worse: int

    @property
    def cost(self) -> float:
        """How much more of the score is lost by covering the place, as a share of it; 0 if both lose the same."""
        return (self.elsewhere - self.covered) / self.before if self.before > 0 else 0.0

    @property
    def in_words(self) -> str:
        """The three scores as text."""
        return (
            f"covering it changes the score from {self.before:.2f} to {self.covered:.2f}, covering the same area "
            f"elsewhere to {self.elsewhere:.2f}"
        )


# The scores, or the reason why the place was not covered.
Tested = Covering | str


def verdict(tested: Tested) -> tuple[str, str]:
    """CONFIRMED, REFUTED or CANNOT_TELL, and the reason."""
    if isinstance(tested, str):
        return CANNOT_TELL, tested
    if tested.images < FEWEST_COVERED:
        return CANNOT_TELL, f"it could be covered in only {tested.images} images; at least {FEWEST_COVERED} are needed"
    if tested.cost < REFUTES:
        return REFUTED, tested.in_words
    if tested.cost < CONFIRMS:
        return CANNOT_TELL, f"{tested.in_words}: too large to refute, too small to confirm"
    if tested.worse < AGREEING * tested.images:
        return CANNOT_TELL, f"{tested.in_words}, but it costs more in only {tested.worse} of {tested.images} images"
    return CONFIRMED, tested.in_words


def to_json(tested: Tested) -> dict[str, Any]:
    """The keys `covering` (None if the place was not covered), `verdict` and `reason`."""
    state, reason = verdict(tested)
    covering = None if isinstance(tested, str) else {**asdict(tested), "cost": tested.cost}
    return {"covering": covering, "verdict": state, "reason": reason}


def from_json(listed: dict[str, Any]) -> Tested:
    """The inverse of `to_json`. Earlier versions wrote no reason and no `worse`. Raises KeyError and TypeError."""
    kept = listed["covering"]
    if kept is None:
        return str(listed.get("reason", "the run did not cover it"))
    before, covered, elsewhere = (float(kept[name]) for name in ("before", "covered", "elsewhere"))
    return Covering(int(kept["images"]), before, covered, elsewhere, int(kept.get("worse", kept["images"])))
