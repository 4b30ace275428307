"""Numbers as callers give them, Python's own, NumPy's or torch's: made Python's own, and held against a range."""

import math
from numbers import Real
from operator import index

from camserve.errors import OptionError, shown


def plain(value: object) -> object:
    """A scalar of NumPy or torch, or an array of theirs without axes, as Python's own; anything else as it is."""
    if getattr(value, "ndim", None) == 0 and (item := getattr(value, "item", None)) is not None:
        try:
            found: object = item()
            return found
        except (TypeError, ValueError, RuntimeError):  # such as a tensor without values
            return value
    return value


def as_number(value: object) -> float | None:
    """`value` as a float; None for what is no number: text, truth values, lists, more digits than a float holds."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError, ZeroDivisionError):
        return None


def as_whole(value: object) -> int | None:
    """`value` as a whole number; None for what is none: 8.0, "8", True."""
    value = plain(value)
    try:
        return None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def number_within(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> float:
    """`value` as a float from `least` to `most`, both included. Raises OptionError that calls it `name`."""
    number = as_number(value)
    if number is None or not math.isfinite(number) or not least <= number <= most:
        raise OptionError(f"{name} must be a number{_limits(least, most)}, not {shown(value)}")
    return number


def whole_within(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> int:
    """`value` as a whole number from `least` to `most`, both included. Raises OptionError that calls it `name`."""
    number = as_whole(value)
    if number is None or not least <= number <= most:
        raise OptionError(f"{name} must be a whole number{_limits(least, most)}, not {shown(value)}")
    return number


def _limits(least: float, most: float) -> str:
    if math.isinf(most):
        return "" if math.isinf(least) else f" of {least:g} or more"
    return f" from {least:g} to {most:g}"
