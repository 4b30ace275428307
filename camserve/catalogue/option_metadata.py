"""What is known of an option: the words that every door shows, and what a value may be."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, get_args

from camserve.catalogue.numbers import as_number, as_whole, plain
from camserve.errors import OptionError, UnknownName, shown

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """One option, for people and for doors that speak text.

    help: one line that every door shows, without an end. wire: its type where it comes as text or JSON. choices: all
    values there are. least, most: the range, both ends in it, or from least on; above: a range from there on, without
    its end. unit: of a number.
    unset: in words, what holds where it is left out; settings: the settings that say so, as `section.key`. see: the
    page of docs with more. form: how text is put together. repeats: whether the command line takes several.
    several_by: what of a model takes several in Python. several: whether one value may be a list in Python; also:
    whether something else may be it there. switch: whether HTTP also takes on and off, on for the settings' threshold.
    check: raises OptionError for a value that is none.
    longest: characters of text in a request, where they are not as many as of all.
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
    several_by: str = ""
    several: bool = False
    also: Callable[[Any], bool] | None = None
    switch: bool = False
    check: Callable[[Any], object] | None = None
    longest: int | None = None

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

    def checked(self, name: str, value: object) -> Any:
        """`value`, numbers of NumPy and torch as Python's own, whatever door it came in by.

        Raises OptionError, UnknownName for one that the option cannot be.
        """
        if self.several and isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(self._of_its_type(name, one) for one in value)  # a list has no hash
        made = self._of_its_type(name, value)
        if self.choices and made not in self.choices:
            raise UnknownName(name, made, self.choices)
        if self.check is not None:
            self.check(made)
        if self.range and not self._within(made):
            if self.above == 0:
                raise OptionError(f"{name} {shown(value)} is not a positive number")
            raise OptionError(f"{name} must be {self._kind} {self._limits}, not {shown(value)}")
        return made

    def _of_its_type(self, name: str, value: object) -> Any:
        """`value` as one of the types of `wire`. Raises OptionError."""
        kinds = get_args(self.wire) or (self.wire,)
        if str in kinds and isinstance(value, str):
            return value
        if self.also is not None and self.also(value):
            return value
        if bool in kinds and isinstance(found := plain(value), int) and found in (True, False):
            return bool(found)
        if int in kinds and (whole := as_whole(value)) is not None:
            return whole
        if float in kinds and (number := as_number(value)) is not None:
            return number
        raise OptionError(self._no_such_type(name, value, kinds))

    def _no_such_type(self, name: str, value: object, kinds: tuple[type, ...]) -> str:
        if bool in kinds:
            return f"{name} {shown(value)} is neither True nor False"
        if self.above == 0:
            return f"{name} {shown(value)} is not a positive number"
        if str not in kinds:
            return f"{name} must be {self._kind} {self._limits}, not {shown(value)}"
        what = "not one name" if int not in kinds else "neither a whole number nor text"
        hint = f": {self.help}" if int in kinds else "; give it as text"
        if self.repeats and isinstance(value, list | tuple | set):
            call = f"call model.{self.several_by}(image, [...])" if self.several_by else "call it once for each"
            hint = f"; for several, {call}, or give `camserve explain` --{name} for each"
        return f"{name} {shown(value)} is {what}{hint}"

    @property
    def _kind(self) -> str:
        return "a whole number" if self.wire is int else "a number"

    @property
    def _limits(self) -> str:
        return self.range if self.most is None else f"from {self.range}"

    def _within(self, value: float) -> bool:
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


def settle(options: object) -> None:
    """Makes every option of a record what it says, as `About.checked` has it; None leaves it to the settings.

    Raises OptionError, UnknownName.
    """
    for name, (one, _) in about(type(options)).items():
        value = getattr(options, name)
        if value is not None:
            object.__setattr__(options, name, one.checked(name, value))


def checked(options: type, name: str, value: object) -> Any:
    """`value` as that option of a class of options, for who takes it alone; None stays None. Raises OptionError."""
    return None if value is None else about(options)[name][0].checked(name, value)


def _read(options: Any) -> Declared:
    return {one.name: (one.metadata["about"], one.default) for one in fields(options) if "about" in one.metadata}


# By the class: the service asks with every request.
_remembered: Callable[[type], Declared] = cache(_read)
