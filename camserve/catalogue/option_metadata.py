"""What is known of an option: the words that every door shows, and what a value may be."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

from camserve.errors import OptionError, UnknownName

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """One option, for people and for doors that speak text.

    help: one line that every door shows, without an end. wire: its type where it comes as text or JSON. choices: all
    values there are. least, most: the range, both ends in it, or from least on; above: a range from there on, without
    its end. unit: of a number.
    unset: in words, what holds where it is left out; settings: the settings that say so, as `section.key`. see: the
    page of docs with more. form: how text is put together. repeats: whether the command line takes several. switch:
    whether HTTP also takes on and off, on for the settings' threshold. check: raises OptionError for a value that is
    none.
    """

    help: str
    wire: Any
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    unit: str = ""
    unset: str = ""
    settings: tuple[str, ...] = ()
    see: str = ""
    form: str | None = None
    repeats: bool = False
    switch: bool = False
    check: Callable[[Any], object] | None = None

    @property
    def range(self) -> str:
        """The numbers it may be, in words; "" for all."""
        if self.above is not None:
            return f"above {self.above:g}"
        if self.least is None or self.most is None:
            return "" if self.least is None else f"{self.least:g} or more"
        return f"{self.least:g} to {self.most:g}"

    @property
    def sentence(self) -> str:
        """The help as a sentence, with the range."""
        said = f"{self.help[0].upper()}{self.help[1:]}"
        return f"{said} ({self.range})." if self.range else f"{said}."

    def line(self, default: object) -> str:
        """The sentence and, where there is one, the default."""
        unset = self.unset or ("" if default in (None, False, ()) else str(default))
        return self.sentence + (f" Default: {unset}." if unset else "")

    def checked(self, name: str, value: object) -> None:
        """Raises OptionError, UnknownName for a value that the option cannot be, whatever door it came in by."""
        if self.wire is str and self.check is not None and not isinstance(value, str):
            several = isinstance(value, list | tuple | set) and self.repeats
            hint = (
                f" for several, call it once for each, or give `camserve explain` --{name} for each" if several else ""
            )
            raise OptionError(f"{name} {value!r} is not one name;{hint or ' give it as text'}")
        if self.wire is bool and value not in (True, False):
            raise OptionError(f"{name} {value!r} is neither True nor False")
        if self.choices and value not in self.choices:
            raise UnknownName(name, value, self.choices)
        if self.check is not None:
            self.check(value)
        if self.range and not self._within(value):
            if self.above == 0:
                raise OptionError(f"{name} {value!r} is not a positive number")
            limits = self.range if self.most is None else f"from {self.range}"
            raise OptionError(f"{name} must be a number {limits}, not {value!r}")

    def _within(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        if self.above is not None:
            return self.above < value < math.inf
        least, most = self.least, math.inf if self.most is None else self.most
        return least is not None and least <= value <= most


Declared = dict[str, tuple[About, Any]]


def option(default: T, help: str, wire: Any, **more: Any) -> T:
    """A field of a class of options. more: of `About`."""
    made: T = field(default=default, metadata={"about": About(help, wire, **more)})
    return made


def about(options: type) -> Declared:
    """What is known of each field of a class of options, and its default, by name and in order."""
    return _remembered(options)


def check(options: object) -> None:
    """Raises OptionError, UnknownName for an option that is out of its range; None is in every one."""
    for name, one in _limited(type(options)):
        value = getattr(options, name)
        if value is not None:
            one.checked(name, value)


def _read(options: Any) -> Declared:
    return {one.name: (one.metadata["about"], one.default) for one in fields(options) if "about" in one.metadata}


def _limits(options: type) -> list[tuple[str, About]]:
    return [
        (name, one)
        for name, (one, _) in about(options).items()
        if one.choices or one.range or one.check or one.wire is bool
    ]


# By the class: the service asks with every request.
_remembered: Callable[[type], Declared] = cache(_read)
_limited: Callable[[type], list[tuple[str, About]]] = cache(_limits)
