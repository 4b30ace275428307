"""What covering a suspected place says: the place decides, it does not, or nobody can tell.

The cost of covering is how much more of the class's score is lost than by covering as much at the mirror image of the
place. What CONFIRMS and REFUTES are by chance, at any place, `benchmarks/covering.py` measures.
"""

from dataclasses import asdict, dataclass
from typing import Any

CONFIRMED, REFUTED, CANNOT_TELL = "confirmed", "refuted", "cannot tell"
CONFIRMS, REFUTES = 0.2, 0.1  # of the score: the cost from which a place decides, and below which it does not
AGREEING = 0.75  # share of the images of which covering the place must cost more, so that one image does not decide
FEWEST_COVERED = 4  # images


@dataclass(frozen=True)
class Covering:
    """Mean scores of the class in some images: before, with the place covered, and with its mirror image covered.

    worse: in how many of them covering the place took more than covering the mirror image.
    """

    images: int
    before: float
    covered: float
    elsewhere: float
    worse: int

    @property
    def cost(self) -> float:
        """How much more of the score covering the place takes, as a share of it: 0 where both take as much."""
        return (self.elsewhere - self.covered) / self.before if self.before > 0 else 0.0

    @property
    def in_words(self) -> str:
        """The three scores."""
        return (
            f"covering it changes the score from {self.before:.2f} to {self.covered:.2f}, covering the same area "
            f"elsewhere to {self.elsewhere:.2f}"
        )


# Why a place was not covered, where it was not.
Tested = Covering | str


def verdict(tested: Tested) -> tuple[str, str]:
    """CONFIRMED, REFUTED or CANNOT_TELL, and why."""
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
    """`covering`, None where the place was not covered; `verdict`; and `reason`."""
    state, reason = verdict(tested)
    covering = None if isinstance(tested, str) else {**asdict(tested), "cost": tested.cost}
    return {"covering": covering, "verdict": state, "reason": reason}


def from_json(listed: dict[str, Any]) -> Tested:
    """The same back; earlier versions kept no reason and no `worse`. Raises KeyError and TypeError for what is none."""
    kept = listed["covering"]
    if kept is None:
        return str(listed.get("reason", "the run did not cover it"))
    before, covered, elsewhere = (float(kept[name]) for name in ("before", "covered", "elsewhere"))
    return Covering(int(kept["images"]), before, covered, elsewhere, int(kept.get("worse", kept["images"])))
