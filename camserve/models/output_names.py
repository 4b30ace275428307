"""Networks with several outputs: which of them a model is about, and the class names of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camserve.graph.original.answer_parts import AnswerParts
    from camserve.graph.original.logits import Part

Output = str | int
# Of the output that is explained, or of several, each by its name.
Labels = Sequence[str] | Mapping[Output, Sequence[str]]


def output_of(asked: Output | None, card: Output | None, labels: Labels | None) -> Output | None:
    """What was asked for, else what the card says, else the only output whose labels were given; None: nobody says."""
    if asked is not None or card is not None:
        return card if asked is None else asked
    return next(iter(labels)) if isinstance(labels, Mapping) and len(labels) == 1 else None


def count_of(labels: Labels | None, output: Output | None) -> int | None:
    """How many classes have names; None: not known."""
    if isinstance(labels, Mapping):
        return len(labels[output]) if output is not None and output in labels else None
    return None if labels is None else len(labels)


def labels_of(
    part: "Part", answered: "AnswerParts", labels: Labels | None, asked: Output | None, card: Output | None
) -> Sequence[str] | None:
    """The class names of the part that is explained, None where nobody names them.

    One list belongs to the output that the card names, where another was asked for. Raises UnknownName,
    OptionError for labels of an output that there is not.
    """
    if isinstance(labels, Mapping):
        return {answered.named(name).name: names for name, names in labels.items()}.get(part.name)
    belongs = asked is None or card is None or answered.named(card).name == part.name
    return labels if belongs else None
