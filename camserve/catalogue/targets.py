"""What an explanation is about: a class, one class against another, or any scalar function of the logits."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, TypeAlias

from camserve.catalogue.class_names import INDEX, class_finder, classes_named, index_in, resolve_class
from camserve.catalogue.methods import QUANTITIES
from camserve.errors import CamserveError, OptionError, UnknownName, close_names, first_line, shown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

PREDICTED, EXPECTED = "predicted", "expected"
# The most characters of a difference "a-b": each hyphen in it is tried as the one between the two classes.
_LONGEST = 1000
_ABOVE = re.compile(r"above (\d{1,9}(?:\.\d{0,18})?|\.\d{1,18})")
_COUNT = re.compile(r"(?:top )?(\d{1,18})")

# Path objects, bytes, files, images and arrays. Their types are not imported here, see `is_photograph`.
Photograph: TypeAlias = Any
TargetOption: TypeAlias = int | str | Callable[["Tensor"], "Tensor"] | Photograph | None


def is_photograph(value: object) -> bool:
    """Whether a target is another photograph: a path object, bytes, a file, an image or an array. Text is not."""
    if isinstance(value, str | tuple | list):
        return False
    known = isinstance(value, PathLike | bytes | bytearray | memoryview) or hasattr(value, "read")
    return known or (hasattr(value, "size") and getattr(value, "ndim", 2) > 1)


@dataclass(frozen=True)
class Target:
    """A scalar function of each image's logits: (N, C) -> (N,).

    index: the class whose score is reported. name: the target in words. against: the class subtracted, if any. sign: -1
    for evidence against the class. quantity: "logit"; "log-softmax", which also counts evidence for other classes; or
    "contrast", the logit minus the mean logit of all other classes. function: the caller's own function, which replaces
    all of this. classes: C, needed for a contrast.
    """

    index: int
    name: str = ""
    against: int | None = None
    sign: int = 1
    quantity: str = "logit"
    function: "Callable[[Tensor], Tensor] | None" = field(default=None, compare=False)
    classes: int = 1

    def __call__(self, logits: "Tensor") -> "Tensor":
        """(N, C) -> (N,)."""
        if self.function is not None:
            return _checked(_called(self.function, logits), logits)
        scores = logits.log_softmax(1) if self.quantity == "log-softmax" else logits
        if self.quantity == "contrast" and self.against is None:  # in a difference the other classes cancel out
            scores = _against_others(logits)
        value = scores[:, self.index]
        return self.sign * (value if self.against is None else value - scores[:, self.against])

    @property
    def has_score(self) -> bool:
        """Whether it is about one class alone; then the score of that class is the model's confidence."""
        return self.function is None and self.against is None and self.sign == 1

    @property
    def terms(self) -> tuple[tuple[int, float], ...] | None:
        """(class, factor) of each logit in the sum that is the target; None if the target is not a sum of logits."""
        if not self.is_linear:
            return None
        if self.quantity == "contrast" and self.against is None and self.classes > 1:
            others = -self.sign / (self.classes - 1)
            return tuple((index, self.sign if index == self.index else others) for index in range(self.classes))
        own = (self.index, self.sign)
        return (own,) if self.against is None else (own, (self.against, -self.sign))

    @property
    def is_class(self) -> bool:
        """Whether it is the logit of one class; only then is completeness defined."""
        return self.has_score and self.quantity == "logit"

    @property
    def is_linear(self) -> bool:
        """Whether it is a sum of logits, so that the contributions of regions add up to it."""
        return self.function is None and self.quantity != "log-softmax"


def _against_others(logits: "Tensor") -> "Tensor":
    """Each logit minus the mean of all other logits, (N, C); a single logit stays unchanged."""
    count = logits.shape[1]
    return logits if count == 1 else (logits * count - logits.sum(1, keepdim=True)) / (count - 1)


def class_target(index: int) -> Target:
    """The logit of one class."""
    return Target(index)


def resolve_target(
    target: TargetOption,
    logits: "npt.NDArray[np.float32]",
    labels: Sequence[str],
    quantity: str = "logit",
    expected: int | None = None,
) -> Target:
    """Return the Target for the value of the option `target`.

    target: None or "predicted", the class with the highest logit; "expected", the class `expected`, if that is known;
    the index or name of a class, see `resolve_class`; "a-b", a against b, such as "predicted-expected"; "-a", evidence
    against a; or a function of logits (N, C) -> (N,), which reports the score of the predicted class. logits: float32
    (C,). quantity: one of QUANTITIES. Raises OptionError, UnknownName with close matches.
    """
    if quantity not in QUANTITIES:
        raise UnknownName("quantity", quantity, QUANTITIES)
    best = int(logits.argmax())
    if callable(target):
        return Target(best, getattr(target, "__name__", "function"), quantity=quantity, function=target)
    words = {PREDICTED: best} if expected is None else {PREDICTED: best, EXPECTED: expected}
    if target is None or (isinstance(target, str) and not target):
        return Target(best, labels[best], quantity=quantity, classes=len(labels))
    if isinstance(target, str):
        if expected is None and needs_expected(target, labels):
            raise OptionError(
                f"target {shown(target)} needs the class that the image shows, but this class is not known: give "
                f"{EXPECTED}, an index or a name"
            )
        if (meant := _word(target, words, labels)) is not None:
            return Target(meant, labels[meant], quantity=quantity, classes=len(labels))
        found = _parse(target, words, labels)
        if found is not None:
            return Target(*found, quantity=quantity, classes=len(labels))
    if isinstance(target, list | tuple):
        raise OptionError(f"target {target!r} has {len(target)} entries, but explain takes one; use explain_classes")
    if is_photograph(target):
        raise OptionError("only `explain` takes another photograph as the target; call it with this photograph alone")
    index = resolve_class(target, labels)
    return Target(index, labels[index], quantity=quantity, classes=len(labels))


def needs_expected(target: TargetOption, labels: Sequence[str]) -> bool:
    """Whether a target needs the expected class: "expected", or a difference with it. False if a class is named so."""
    if not isinstance(target, str) or classes_named(target, labels) or classes_named(EXPECTED, labels):
        return False
    return EXPECTED in map(str.strip, (target, *target.split("-", 1), *target.rsplit("-", 1)))


def _word(text: str, words: Mapping[str, int], labels: Sequence[str]) -> int | None:
    """The class that a word such as "predicted" means, None for other text.

    Raises OptionError if a class has that word as its name.
    """
    if text in words and text in labels:
        what = "the class with the highest logit" if text == PREDICTED else "the class that the image shows"
        other = "leave target out, or give the class" if text == PREDICTED else "give either"
        raise OptionError(
            f"target '{text}' means {what}, but a class of this model also has that name: {other} as "
            f"'{INDEX}{labels.index(text)}'"
        )
    return words.get(text)


def _parse(target: str, words: Mapping[str, int], labels: Sequence[str]) -> tuple[int, str, int | None, int] | None:
    """(index, name, against, sign) of "a-b" or "-a"; None if the text has another form or is the name of a class."""
    if "-" not in target or len(target) > _LONGEST or classes_named(target, labels):
        return None
    found: list[tuple[int, str, int | None, int]] = []
    unknown, names = [], class_finder(labels)
    for place, letter in enumerate(target):
        if letter == "-":
            first, second = target[:place].strip(), target[place + 1 :].strip()
            other = _side(second, words, labels, names)
            own = _side(first, words, labels, names)
            if other is not None and first == "":
                found.append((other, f"against {labels[other]}", None, -1))
            elif other is not None and own is not None:
                found.append((own, f"{labels[own]} - {labels[other]}", other, 1))
            elif other is not None:
                unknown.append(first)
            elif own is not None or first == "":
                unknown.append(second)
    if len(found) > 1:
        meanings = ", ".join(f"{name!r} ({_in_indices(own, other)})" for own, name, other, _ in found)
        raise OptionError(f"target {target!r} can mean {meanings}; give class indices instead, as in brackets")
    if not found and len(unknown) == 1 and unknown[0] and _is_about_a_side(target, unknown[0], labels):
        resolve_class(unknown[0], labels)  # its error names the wrong side, not the whole text
    return found[0] if found else None


def _in_indices(own: int, other: int | None) -> str:
    return f"-{INDEX}{own}" if other is None else f"{INDEX}{own}-{INDEX}{other}"


def _is_about_a_side(target: str, side: str, labels: Sequence[str]) -> bool:
    """Whether the mistake is in one side of "a-b". "tigre-cat" as a whole is similar to "tiger cat"; "cat-9" is not."""
    return len(classes_named(side, labels)) > 1 or not close_names(target, labels, likeness=0.76)


def _side(text: str, words: Mapping[str, int], labels: Sequence[str], named: Callable[[str], list[int]]) -> int | None:
    """The class that one side of a difference means, or None. named: a function that `class_finder` returned."""
    if text in words and (meant := _word(text, words, labels)) is not None:
        return meant
    if len(found := named(text)) == 1:
        return found[0]
    index = index_in(text)
    return index if not found and index is not None and index < len(labels) else None


def _called(function: "Callable[[Tensor], Tensor]", logits: "Tensor") -> "Tensor":
    try:
        return function(logits)
    except CamserveError:
        raise
    except BaseException as error:  # the caller's code may raise anything; SystemExit would end a worker
        if isinstance(error, KeyboardInterrupt) and current_thread() is main_thread():
            raise
        raise OptionError(f"the target function raised {type(error).__name__}: {first_line(error)}") from error


def _checked(value: "Tensor", logits: "Tensor") -> "Tensor":
    if not isinstance(value, type(logits)) or value.shape != logits.shape[:1]:
        shape = tuple(value.shape) if isinstance(value, type(logits)) else type(value).__name__
        raise OptionError(
            f"the target function gave {shape} for logits {tuple(logits.shape)}; it must give one number "
            f"per image, shape {tuple(logits.shape[:1])}"
        )
    if not value.is_floating_point():
        raise OptionError(f"the target function gave {value.dtype}; it must give floats: the map needs gradients")
    return value


@dataclass(frozen=True)
class Best:
    """The `count` classes with the highest scores. text: what the user wrote; a class with this name has priority."""

    count: int
    text: str

    def among(self, labels: Sequence[str]) -> int | list[str]:
        """What `explain_classes` takes as targets."""
        return [self.text] if classes_named(self.text, labels) else self.count


@dataclass(frozen=True)
class Above:
    """Every class with at least this score, best first. text: what the user wrote; a class with this name has priority.

    most: the most classes allowed, None for any number. setting: the setting with this limit.
    """

    score: float
    text: str = ""
    most: int | None = None
    setting: str = ""

    def among(self, labels: Sequence[str]) -> "Above | list[str]":
        """What `explain_classes` takes as targets."""
        return [self.text] if classes_named(self.text, labels) else self


def above(text: str) -> Above | None:
    """Read text such as "above 0.5"; None for other text. Raises OptionError for a number outside 0..1."""
    found = _ABOVE.fullmatch(text.strip())
    if found is None:
        return None
    if not 0 <= (score := float(found[1])) <= 1:
        raise OptionError(f"targets {shown(text)}: a score is a number from 0 to 1")
    return Above(score, text.strip())


def parse_targets(text: str) -> Best | Above | list[str]:
    """Read classes separated by semicolons, "3" or "top 3", or "above 0.5". Raises OptionError for empty text."""
    if (scoring := above(text)) is not None:
        return scoring
    if count := _COUNT.fullmatch(text.strip()):
        return Best(int(count[1]), text.strip())
    found = [target.strip() for target in text.split(";") if target.strip()]
    if not found:
        raise OptionError(f"targets {text!r} names no class; give classes separated by semicolons, or a number")
    return found
