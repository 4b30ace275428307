"""Networks with several outputs: which one to explain, and the class names of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camserve.graph.original.answer_parts import AnswerParts
    from camserve.graph.original.logits import Part

Output = str | int
# Labels of the explained output, or of several outputs by name.
Labels = Sequence[str] | Mapping[Output, Sequence[str]]


def output_of(asked: Output | None, card: Output | None, labels: Labels | None) -> Output | None:
    """The output asked for, else the card's, else the only output with labels; None if nothing chooses one."""
    if asked is not None or card is not None:
        return card if asked is None else asked
    return next(iter(labels)) if isinstance(labels, Mapping) and len(labels) == 1 else None


def count_of(labels: Labels | None, output: Output | None) -> int | None:
    """The number of classes with names; None if unknown."""
    if isinstance(labels, Mapping):
        return len(labels[output]) if output is not None and output in labels else None
    return None if labels is None else len(labels)


def labels_of(
    part: "Part", answered: "AnswerParts", labels: Labels | None, asked: Output | None, card: Output | None
) -> Sequence[str] | None:
    """The class names of the explained part, None if it has none.

    A single list belongs to the output of the card, not to another output that was asked for. Raises UnknownName,
    OptionError for labels of an unknown output.
    """
    if isinstance(labels, Mapping):
        return {answered.named(name).name: names for name, names in labels.items()}.get(part.name)
    belongs = asked is None or card is None or answered.named(card).name == part.name
    return labels if belongs else None
