"""The names of classes, and which class a name or an index means."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import index

from camserve.errors import LONGEST_NAME, OptionError, UnknownName, close_names, shown

# In front of an index that is text, where the digits alone are the name of a class.
INDEX = "#"
# Digits of an index: with more it is none, and Python reads no text of thousands of digits as a number.
_DIGITS = 18
# So many classes are listed in an error; of more, only those that may have been meant.
_LISTED = 10
# No name has more words; each is compared with all that there are.
_WORDS = 8
# From this likeness on, 0..1, one spelling is probably meant for another.
_MUCH = 0.76


class ClassNames(tuple[str, ...]):
    """The classes' names in the order of the logits; `others`: more names by which a class is found, with its index.

    Such as a WordNet identifier, or a synonym. What is shown is always the name in the tuple.
    """

    others: tuple[tuple[str, int], ...]

    def __new__(cls, names: Iterable[str], others: Iterable[tuple[str, int]] = ()) -> "ClassNames":
        """names: one a class. others: pairs of (name, index)."""
        made = super().__new__(cls, names)
        made.others = tuple(others)
        return made


def others_of(labels: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """More names of the classes, with their indices; () where the labels are an ordinary sequence."""
    return labels.others if isinstance(labels, ClassNames) else ()


def resolve_class(target: int | str, labels: Sequence[str], option: str = "target") -> int:
    """The class index that an index or a name means.

    A number is always an index. Text is the name of a class where there is one, also a name of digits; else digits are
    an index, as flags and queries are text; "#10" is index 10 whatever the names are. option: what an error calls it.
    Raises OptionError for an index out of range and for a name of several classes, UnknownName for another name.
    """
    if isinstance(target, str):
        return _named(target, labels, option)
    if isinstance(target, bool) or not hasattr(target, "__index__"):  # which NumPy's and torch's whole numbers have
        raise OptionError(f"{option} {shown(target)} is neither a class index nor a class name")
    try:
        return _checked_index(index(target), labels, option)
    except TypeError:  # such as an array of several
        raise OptionError(f"{option} {shown(target)} is neither a class index nor a class name") from None


def classes_named(text: str, labels: Sequence[str]) -> list[int]:
    """The classes of exactly that name; where there are none, those of that name in another case.

    In both cases the names that are shown come before the others.
    """
    return class_finder(labels)(text)


def class_finder(labels: Sequence[str]) -> Callable[[str], list[int]]:
    """`classes_named` for many texts: the names are gone through once."""
    own = [(label, index) for index, label in enumerate(labels)]
    tables: dict[tuple[bool, bool], dict[str, set[int]]] = {}

    def table(lower: bool, other: bool) -> dict[str, set[int]]:
        if (lower, other) not in tables:
            made = tables[lower, other] = defaultdict(set)
            for name, index in others_of(labels) if other else own:
                made[name.lower() if lower else name].add(index)
        return tables[lower, other]

    def find(text: str) -> list[int]:
        for lower in (False,) if text.isdecimal() else (False, True):
            for other in (False, True):
                if found := table(lower, other).get(text.lower() if lower else text):
                    return sorted(found)
        return []

    return find


def index_in(text: str) -> int | None:
    """The index that digits are, with or without # in front; None for other text, and for more digits than one has."""
    digits = text.removeprefix(INDEX)
    return int(digits) if digits.isdecimal() and len(digits) <= _DIGITS else None


def _named(text: str, labels: Sequence[str], option: str) -> int:
    found = classes_named(text, labels)
    if len(found) > 1:
        listed = ", ".join(map(str, found[:10])) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        raise OptionError(
            f"class {shown(text)} is the name of {len(found)} classes, {listed}; give an index, {found[0]} as a number "
            f"or '{INDEX}{found[0]}' as text"
        )
    if found:
        return found[0]
    digits = text.removeprefix(INDEX)
    if not digits.isdecimal():
        raise _unknown(text, labels)
    index = index_in(text)
    return _checked_index(digits if index is None else index, labels, option)


def _checked_index(index: int | str, labels: Sequence[str], option: str) -> int:
    if isinstance(index, str) or not 0 <= index < len(labels):
        raise OptionError(f"{option} {shown(index)} is not a class; the model has classes 0 to {len(labels) - 1}")
    return index


def _unknown(text: str, labels: Sequence[str]) -> UnknownName:
    """The error for a name of no class: it offers those that may have been meant."""
    allowed = f"The model has {len(labels)} classes; an index, 0 to {len(labels) - 1}, is a name as well"
    return UnknownName(
        "class", text, labels, close=names_like(text, labels), allowed=allowed if len(labels) > _LISTED else ""
    )


def names_like(text: str, labels: Sequence[str]) -> list[str]:
    """The classes' names that may have been meant, shortest first.

    Those that have all the words of `text`; where there are none, those with words that begin or end with them, those
    spelt much like `text`, those with words spelt much like its words, or at last those spelt a little like it.
    """
    text = text[:LONGEST_NAME]
    names, wanted = [*labels, *(name for name, _ in others_of(labels))], _words(text)
    long = [name for name in names if abs(len(name) - len(text)) <= max(1, len(text) // 2)]  # "cat" is not for "castle"
    return (
        _names_with(wanted, names, str.__eq__)
        or _names_with(wanted, names, _is_part)
        or close_names(text, long, likeness=_MUCH)
        or _names_with(_corrected(wanted, names), names, str.__eq__)
        or close_names(text, long)
    )


def _corrected(wanted: set[str], names: Sequence[str]) -> set[str]:
    """For each word the likest that is in the names; no word where one is like none of them, or where they are many."""
    if len(wanted) > _WORDS:
        return set()
    vocabulary = set[str]().union(*map(_words, names))
    likest = [close_names(word, sorted(vocabulary), likeness=_MUCH)[:1] for word in wanted]
    return {word for one in likest for word in one} if all(likest) else set()


def _names_with(wanted: set[str], names: Sequence[str], same: Callable[[str, str], bool]) -> list[str]:
    """The names that have for each of the words one that is the same."""
    found = {name for name in names if wanted and all(any(same(own, word) for own in _words(name)) for word in wanted)}
    return sorted(found, key=lambda name: (len(name), name))


def _is_part(own: str, word: str) -> bool:
    return len(word) > 2 and (own.startswith(word) or own.endswith(word))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))
