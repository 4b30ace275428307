"""What a run cannot show, because maps have too few cells or classes have too few images."""

from collections.abc import Iterator

from camserve.findings.shortcuts import FEWEST
from camserve.findings.statistics import COARSE, Heat


def few(classes: dict[int, Heat]) -> tuple[int, int]:
    """The number of classes with too few usable maps, and the number of classes with any usable map."""
    counts = [one.count for one in classes.values() if one.count]
    return sum(count < FEWEST for count in counts), len(counts)


def tells_nothing(every: Heat, classes: dict[int, Heat]) -> bool:
    """Whether the run has too few images to find any shortcut."""
    judged = (one.count >= FEWEST and every.count - one.count >= FEWEST for one in classes.values())
    return every.count < FEWEST and not any(judged)


def cannot_tell(every: Heat, classes: dict[int, Heat]) -> Iterator[str]:
    """Sentences that say what the run cannot show, why, and what to try."""
    if every.coarse:
        yield (
            f"Cannot tell where the model looks in {every.coarse} of {every.coarse + every.count} images: their maps "
            f"have fewer than {COARSE} x {COARSE} cells. Try a larger size or an earlier layer."
        )
    small, judged = few(classes)
    if small:
        whose = "the only predicted class" if judged == 1 else f"{small} of {judged} classes"
        yield (
            f"Cannot tell whether {whose} {'has' if small == 1 else 'have'} a shortcut: fewer than {FEWEST} images "
            f"{'' if judged == 1 else 'each '}were explained as {'it' if small == 1 else 'these'}. Try more images."
        )
    elif judged and every.count - max(one.count for one in classes.values()) < FEWEST:
        yield (
            f"Cannot tell whether the most frequent class has a shortcut: fewer than {FEWEST} images of other classes "
            "were there to compare with. Add images of other classes."
        )
