"""The names of classes, and which class a name or an index means."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import index

from camserve.errors import LONGEST_NAME, OptionError, UnknownName, close_names, shown

# Marks text as an index: "#10" is index 10, even where "10" is the name of a class.
INDEX = "#"
# Text of more digits is not an index. (Python raises an error for text of thousands of digits.)
_DIGITS = 18
# An error lists at most so many classes; of a longer list, it offers only similar names.
_LISTED = 10
# Text of more words is not corrected word by word: each word is compared with the whole vocabulary.
_WORDS = 8
# Two spellings of at least this similarity, 0..1, probably mean the same word.
_MUCH = 0.76


class ClassNames(tuple[str, ...]):
    """The classes' names in the order of the logits.

    others: more names of classes, each with the class's index, such as a WordNet identifier or a synonym. They only
    find a class; pages and errors always show the name in the tuple.
    """

    others: tuple[tuple[str, int], ...]

    def __new__(cls, names: Iterable[str], others: Iterable[tuple[str, int]] = ()) -> "ClassNames":
        """names: one per class. others: pairs of (name, index)."""
        made = super().__new__(cls, names)
        made.others = tuple(others)
        return made


def others_of(labels: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The other names of the classes, with their indices; () if the labels are an ordinary sequence."""
    return labels.others if isinstance(labels, ClassNames) else ()


def resolve_class(target: int | str, labels: Sequence[str], option: str = "target") -> int:
    """Return the class index for an index or a name.

    A number is always an index. Text is first searched among the class names; if no class has that name, digits are an
    index. "#10" is always index 10. option: the option's name in errors.
    Raises OptionError for an index out of range and for a name that several classes have, UnknownName for an unknown
    name.
    """
    if isinstance(target, str):
        return _named(target, labels, option)
    if isinstance(target, bool) or not hasattr(target, "__index__"):  # integers of NumPy and torch have it
        raise OptionError(f"{option} {shown(target)} is neither a class index nor a class name")
    try:
        return _checked_index(index(target), labels, option)
    except TypeError:  # such as an array of several numbers
        raise OptionError(f"{option} {shown(target)} is neither a class index nor a class name") from None


def classes_named(text: str, labels: Sequence[str]) -> list[int]:
    """The classes with exactly that name; if there are none, the classes with that name in upper or lower case.

    In both cases, a class's main name has priority over its other names.
    """
    return class_finder(labels)(text)


def class_finder(labels: Sequence[str]) -> Callable[[str], list[int]]:
    """`classes_named` for many texts: it builds the tables of names only once."""
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
    """The index that text of digits gives, with or without # in front; None for other text and for too many digits."""
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
    """The error for an unknown class name; it offers similar names."""
    allowed = f"The model has {len(labels)} classes; an index, 0 to {len(labels) - 1}, is a name as well"
    return UnknownName(
        "class", text, labels, close=names_like(text, labels), allowed=allowed if len(labels) > _LISTED else ""
    )


def names_like(text: str, labels: Sequence[str]) -> list[str]:
    """The class names that are similar to `text`, shortest first.

    It returns the first of these lists that is not empty: names with all the words of `text`; names with words that
    begin or end with these words; names spelt almost like `text`; names with words spelt almost like its words; names
    spelt a little like `text`.
    """
    text = text[:LONGEST_NAME]
    names, wanted = [*labels, *(name for name, _ in others_of(labels))], _words(text)
    long = [name for name in names if abs(len(name) - len(text)) <= max(1, len(text) // 2)]  # not "cat" for "castle"
    return (
        _names_with(wanted, names, str.__eq__)
        or _names_with(wanted, names, _is_part)
        or close_names(text, long, likeness=_MUCH)
        or _names_with(_corrected(wanted, names), names, str.__eq__)
        or close_names(text, long)
    )


def _corrected(wanted: set[str], names: Sequence[str]) -> set[str]:
    """For each word, the most similar word in the names; the empty set if a word has no match or there are too many."""
    if len(wanted) > _WORDS:
        return set()
    vocabulary = set[str]().union(*map(_words, names))
    likest = [close_names(word, sorted(vocabulary), likeness=_MUCH)[:1] for word in wanted]
    return {word for one in likest for word in one} if all(likest) else set()


def _names_with(wanted: set[str], names: Sequence[str], same: Callable[[str, str], bool]) -> list[str]:
    """The names in which each wanted word has a match; same(word of the name, wanted word)."""
    found = {name for name in names if wanted and all(any(same(own, word) for own in _words(name)) for word in wanted)}
    return sorted(found, key=lambda name: (len(name), name))


def _is_part(own: str, word: str) -> bool:
    return len(word) > 2 and (own.startswith(word) or own.endswith(word))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))
