"""Class names in the order of the logits, from a list or a dict of them, and the other names that classes have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache
from operator import eq, index
from typing import Any

from camserve.catalogue.class_names import ClassNames, others_of, resolve_class
from camserve.config.schema import shipped
from camserve.errors import ModelError, OptionError, shown

# Indices that an error names; there may be thousands.
_LISTED = 10
# Characters of a class's name.
_LONGEST = 1000
# Labels are ImageNet's where at least this share is: libraries differ in a few, such as the two cranes.
_IMAGENET_SHARE = 0.95


def names_in_order(labels: Iterable[Any]) -> tuple[str, ...]:
    """The names of a list, or of a dict: {0: "cat"}, {"0": "cat"} or {"cat": 0}. Raises ModelError.

    Whole numbers in a list, as of digits, become text. A list or tuple in a list is names of one class: the first is
    shown, and the class is found by all. Keys of digits with text as values are indices; keys with numbers as values
    are names. What has such a dict as `id2label`, as transformers' configurations, is as good.
    """
    labels = getattr(labels, "id2label", labels)
    if isinstance(labels, Mapping):
        return checked_names(_by_index(labels))
    several = [_names(label) for label in _listed(labels)]
    others = [(name, place) for place, names in enumerate(several) for name in names[1:]]
    return ClassNames(checked_names(tuple(names[0] for names in several)), others)


def checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes. Raises ModelError for one that is no name but a text: each answer repeats it."""
    for place, name in enumerate(names):
        if len(name) > _LONGEST:
            raise ModelError(f"labels: class {place} is called {shown(name)}; allowed are {_LONGEST} characters")
    return names


def _listed(labels: Any) -> list[Any]:
    """What is in a list, an array or the like. Raises ModelError."""
    try:
        if not isinstance(labels, Set):
            return list(labels)
    except TypeError:  # also of an array without axes, which says that it has an order
        pass
    raise ModelError(f"labels {shown(labels)} have no order; give a list of class names in the order of the logits")


def names_within(found: Any) -> tuple[str, ...] | None:
    """The names in what a file of weights holds besides; None where there are none that can be read."""
    try:
        return None if found is None else names_in_order(found)
    except ModelError:  # nobody gave these as labels, so nobody is told what is wrong with them
        return None


def with_wnids(labels: Sequence[str]) -> ClassNames:
    """The labels; where they are the 1000 names of ImageNet, WordNet's identifiers, "n02123045", are names as well.

    Each may begin with the name: "tench, Tinca tinca" is class n01440764, too.
    """
    names = imagenet()
    found: Sequence[tuple[str, int]] = ()
    if len(labels) == len(names):
        same = sum(map(eq, names, (label.split(",")[0] for label in labels)))
        if same >= _IMAGENET_SHARE * len(names):
            found = [(wnid, place) for place, wnid in enumerate(_shipped("imagenet_wnids.txt"))]
    return ClassNames(labels, (*others_of(labels), *found))


def with_aliases(labels: ClassNames, aliases: Mapping[str, str], *, all_known: bool = True) -> ClassNames:
    """The labels, with more names: {"moggy": "tabby"}. all_known: False where they may be of another output's classes.

    Raises ModelError for an alias of no class, and for one that is a class's own name.
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
    """The lines of a list beside the cards that come with the package."""
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
    """(index, name) of each entry, whichever way round they are."""
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
    raise ModelError(f"labels: {shown(label)} is no class name; give text, in the order of the logits")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__")


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal() and len(value) < _LISTED


def _few(places: list[int]) -> str:
    return ", ".join(map(str, places[:_LISTED])) + (f" and {len(places) - _LISTED} more" if places[_LISTED:] else "")
