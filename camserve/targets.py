"""Which class an explanation is about."""

from collections.abc import Sequence

import torch

from camserve.errors import OptionError, UnknownName
from camserve.heads import TargetFunction


def resolve_class(target: int | str | None, logits: torch.Tensor, labels: Sequence[str]) -> int:
    """The class index that `target` means: None is the predicted class, else an index or a name of `labels`.

    logits: (1, C). Names match without regard to case; digits are an index, as flags and queries are strings.
    Raises OptionError for an index out of range, UnknownName with close matches for a name.
    """
    if target is None or target == "":
        return int(logits[0].argmax())
    if isinstance(target, str) and not target.isdecimal():
        lower = [label.lower() for label in labels]
        if target.lower() not in lower:
            raise UnknownName("class", target, labels)
        return lower.index(target.lower())
    if isinstance(target, bool) or not isinstance(target, int | str):
        raise OptionError(f"target {target!r} is neither a class index nor a class name")
    index = int(target)
    if not 0 <= index < len(labels):
        raise OptionError(f"target {index} is not a class; the model has classes 0 to {len(labels) - 1}")
    return index


def class_target(index: int) -> TargetFunction:
    """The logit of one class: (N, C) -> (N,)."""
    return lambda logits: logits[:, index]
