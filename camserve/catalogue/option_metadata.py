"""The metadata of an option: its help, which every interface shows, its type and its allowed values."""

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
    """The metadata of one option, for people and for the command line and HTTP, which send text.

    help: one line without a full stop; every interface shows it. wire: the type in text or JSON. choices: all allowed
    values. least, most: the range with both ends; without `most` it has no upper end. above: the value must be greater
    than this. unit: the unit of a number.
    unset: in words, what camserve uses if the option is left out. settings: the settings that decide this, as
    `section.key`. see: the page of docs with more. form: the form of the text, such as X,Y. repeats: whether the
    command line takes several. several_by: the model's method that takes several in Python. several: whether one value
    may be a list in Python. also: returns whether Python accepts another kind of value. switch: whether HTTP also takes
    on and off; on uses the threshold of the settings.
    check: raises OptionError for a bad value.
    longest: the most characters in a request, if they differ from the limit of all options.
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
        """The range of allowed numbers in words; "" if there is no range."""
        if self.above is not None:
            return f"above {self.above:g}"
        if self.least is None or self.most is None:
            return "" if self.least is None else f"{self.least:g} or more"
        return f"{self.least:g} to {self.most:g}"

    @property
    def sentence(self) -> str:
        """The help as a sentence, with the range of allowed numbers."""
        said = f"{self.help[0].upper()}{self.help[1:]}"
        return f"{said} ({self.range})." if self.range else f"{said}."

    def line(self, default: object) -> str:
        """The sentence and the default, if there is one."""
        unset = self.unset or ("" if default in (None, False, ()) else str(default))
        return self.sentence + (f" Default: {unset}." if unset else "")

    def checked(self, name: str, value: object) -> Any:
        """Return `value` if the option allows it; numbers of NumPy and torch become Python numbers.

        Every interface uses this check. Raises OptionError, UnknownName for a value that is not allowed.
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
        """Return `value` as one of the types of `wire`. Raises OptionError."""
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
    """Declare a field of a class of options. more: further fields of `About`."""
    made: T = field(default=default, metadata={"about": About(help, wire, **more)})
    return made


def about(options: type) -> Declared:
    """Return (metadata, default) for each field of a class of options, by name, in the order of the fields."""
    return _remembered(options)


def settle(options: object) -> None:
    """Replace each option of a record by its checked value, see `About.checked`; None leaves it to the settings.

    Raises OptionError, UnknownName.
    """
    for name, (one, _) in about(type(options)).items():
        value = getattr(options, name)
        if value is not None:
            object.__setattr__(options, name, one.checked(name, value))


def checked(options: type, name: str, value: object) -> Any:
    """Return `value` as `About.checked` returns it for one option of a class; None stays None. Raises OptionError."""
    return None if value is None else about(options)[name][0].checked(name, value)


def _read(options: Any) -> Declared:
    return {one.name: (one.metadata["about"], one.default) for one in fields(options) if "about" in one.metadata}


# Cached by class, because the service calls it with every request.
_remembered: Callable[[type], Declared] = cache(_read)
