"""Converts numbers of NumPy and torch to Python numbers, and checks whether a number is in a range."""

import math
from numbers import Real
from operator import index

from camserve.errors import OptionError, shown


def plain(value: object) -> object:
    """Return a scalar, or an array without axes, of NumPy or torch as a Python number; other values unchanged."""
    if getattr(value, "ndim", None) == 0 and (item := getattr(value, "item", None)) is not None:
        try:
            found: object = item()
            return found
        except (TypeError, ValueError, RuntimeError):  # such as a tensor without values
            return value
    return value


def as_number(value: object) -> float | None:
    """Return `value` as a float; None for text, True and False, lists, and numbers too large for a float."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError, ZeroDivisionError):
        return None


def as_whole(value: object) -> int | None:
    """Return `value` as an int; None if it is not an integer: 8.0, "8", True."""
    value = plain(value)
    try:
        return None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def number_within(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value` as a float from `least` to `most`, both included. name: used in the error. Raises OptionError."""
    number = as_number(value)
    if number is None or not math.isfinite(number) or not least <= number <= most:
        raise OptionError(f"{name} must be a number{_limits(least, most)}, not {shown(value)}")
    return number


def whole_within(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> int:
    """Return `value` as an int from `least` to `most`, both included. name: used in the error. Raises OptionError."""
    number = as_whole(value)
    if number is None or not least <= number <= most:
        raise OptionError(f"{name} must be a whole number{_limits(least, most)}, not {shown(value)}")
    return number


def _limits(least: float, most: float) -> str:
    if math.isinf(most):
        return "" if math.isinf(least) else f" of {least:g} or more"
    return f" from {least:g} to {most:g}"
