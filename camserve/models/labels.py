"""Class names in the order of the logits, from a list or a dict, and alternative names of classes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache
from operator import eq, index
from typing import Any

from camserve.catalogue.class_names import ClassNames, others_of, resolve_class
from camserve.config.schema import shipped
from camserve.errors import ModelError, OptionError, shown

# Most indices that an error lists; there may be thousands.
_LISTED = 10
# Most characters of a class name.
_LONGEST = 1000
# Labels are ImageNet's if at least this share is equal: libraries differ in a few, such as the two cranes.
_IMAGENET_SHARE = 0.95


def names_in_order(labels: Iterable[Any]) -> tuple[str, ...]:
    """The names of a list, or of a dict: {0: "cat"}, {"0": "cat"} or {"cat": 0}. Raises ModelError.

    In a list, whole numbers, such as the classes of digits, become text. A list or tuple in a list has several names of
    one class: the first is shown, and each of them finds the class. Keys of digits with text as values are indices;
    keys with numbers as values are names. An object with such a dict as `id2label`, as transformers' configurations, is
    allowed, too.
    """
    labels = getattr(labels, "id2label", labels)
    if isinstance(labels, Mapping):
        return checked_names(_by_index(labels))
    several = [_names(label) for label in _listed(labels)]
    others = [(name, place) for place, names in enumerate(several) for name in names[1:]]
    return ClassNames(checked_names(tuple(names[0] for names in several)), others)


def checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The class names. Raises ModelError for a name that is too long, since each answer repeats it."""
    for place, name in enumerate(names):
        if len(name) > _LONGEST:
            raise ModelError(f"labels: class {place} is called {shown(name)}; allowed are {_LONGEST} characters")
    return names


def _listed(labels: Any) -> list[Any]:
    """The items of a list, an array or a similar object. Raises ModelError."""
    try:
        if not isinstance(labels, Set):
            return list(labels)
    except TypeError:  # raised also by an array without axes
        pass
    raise ModelError(f"labels {shown(labels)} have no order; give a list of class names in the order of the logits")


def names_within(found: Any) -> tuple[str, ...] | None:
    """The class names that a file of weights contains; None if it contains none that can be read."""
    try:
        return None if found is None else names_in_order(found)
    except ModelError:  # the user did not give these as labels, so no error is shown
        return None


def with_wnids(labels: Sequence[str]) -> ClassNames:
    """The labels. If they are ImageNet's 1000 names, WordNet's identifiers, such as "n02123045", are names, too.

    A label may only begin with the name: "tench, Tinca tinca" is class n01440764, too.
    """
    names = imagenet()
    found: Sequence[tuple[str, int]] = ()
    if len(labels) == len(names):
        same = sum(map(eq, names, (label.split(",")[0] for label in labels)))
        if same >= _IMAGENET_SHARE * len(names):
            found = [(wnid, place) for place, wnid in enumerate(_shipped("imagenet_wnids.txt"))]
    return ClassNames(labels, (*others_of(labels), *found))


def with_aliases(labels: ClassNames, aliases: Mapping[str, str], *, all_known: bool = True) -> ClassNames:
    """The labels with more names: {"moggy": "tabby"}. all_known: False if they may belong to another output's classes.

    Raises ModelError for an alias of an unknown class, and for an alias that is the name of a class.
    """
    found = []
    for alias, name in aliases.items():
        if alias in labels:
            raise ModelError(f"the alias '{alias}' of '{name}' is the name of a class already; leave it out")
        try:
            found.append((alias, resolve_class(name, labels)))
        except OptionError as error:
            if all_known:
                raise ModelError(f"the alias '{alias}': {error}") from None
    return ClassNames(labels, (*labels.others, *found))


def imagenet() -> tuple[str, ...]:
    """The names of ImageNet-1k's classes, in the usual order."""
    return _shipped("imagenet.txt")


@cache
def _shipped(file: str) -> tuple[str, ...]:
    """The lines of a list beside the shipped cards."""
    return tuple((shipped("models") / file).read_text(encoding="utf-8").splitlines())


def _by_index(labels: Mapping[Any, Any]) -> tuple[str, ...]:
    names = _pairs(labels)
    counted = Counter(place for place, _ in names)
    twice = sorted(place for place, count in counted.items() if count > 1)
    missing = [place for place in range(len(names)) if place not in counted]
    beyond = sorted(place for place in counted if not 0 <= place < len(names))
    wrong = {"more than one name for": twice, "no name for": missing, "not in the range:": beyond}
    said = [f"{words} {_few(places)}" for words, places in wrong.items() if places]
    if said:
        raise ModelError(
            f"labels: the indices of {len(names)} names must be 0 to {len(names) - 1}, each once; there is "
            f"{', '.join(said)}"
        )
    return tuple(name for _, name in sorted(names))


def _pairs(labels: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """(index, name) of each entry, in either form of the dict."""
    if all(isinstance(name, str) and _is_number(place) for name, place in labels.items()):
        return [(index(place), name) for name, place in labels.items()]
    if all(isinstance(name, str) and (_is_number(place) or _is_digits(place)) for place, name in labels.items()):
        return [(int(place), name) for place, name in labels.items()]
    first = next(iter(labels.items()))
    raise ModelError(
        f"labels: the dict begins with {shown(first[0])}: {shown(first[1])}; allowed are index to name, as in "
        '{0: "cat"} or {"0": "cat"}, and name to index, as in {"cat": 0}, the same for all entries'
    )


def _names(label: Any) -> list[str]:
    """The names of one class, at least one."""
    if isinstance(label, list | tuple) and label:
        return [_name(name) for name in label]
    return [_name(label)]


def _name(label: Any) -> str:
    if isinstance(label, str) or _is_number(label):
        return str(label)
    raise ModelError(f"labels: {shown(label)} is not a class name; give text, in the order of the logits")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__")


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal() and len(value) < _LISTED


def _few(places: list[int]) -> str:
    return ", ".join(map(str, places[:_LISTED])) + (f" and {len(places) - _LISTED} more" if places[_LISTED:] else "")
