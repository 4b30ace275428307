"""Pydantic's validation errors in one line: key, value, and what is allowed."""

from typing import Any

from pydantic import ValidationError

from camserve.errors import shown

# Messages that replace pydantic's, by the type of the fault.
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "bool_parsing": "allowed are on and off, or true and false",
    "int_parsing": "should be a whole number",
    "float_parsing": "should be a number",
}
# The most faults that a message lists: a list of a million numbers may have a million faults.
_TOLD = 3


def faults_of(error: ValidationError, *, depth: int | None = None, hidden: str = "") -> str:
    """Return `key = value: what is allowed` for the first few faults.

    depth: how many parts of a key are shown; None: all. hidden: a key whose value is not shown.
    """
    faults = error.errors(include_url=False)
    more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    return "; ".join(_fault(fault, depth, hidden) for fault in faults[:_TOLD]) + more


def _fault(fault: Any, depth: int | None, hidden: str) -> str:
    key = ".".join(map(str, fault["loc"][:depth]))
    said = words_of(fault)
    if not key:
        return str(said)
    if fault["type"] == "missing":
        return f"{key} {said}"
    if key == hidden or isinstance(fault["input"], dict):  # a whole section would not help the reader
        return f"{key} = ...: {said}" if key == hidden else f"{key}: {said}"
    return f"{key} = {shown(fault['input'])}: {said}"


def words_of(fault: Any) -> str:
    """What is wrong with a value, to be written after its name. fault: one of `ValidationError.errors()`."""
    own = _WORDS.get(fault["type"])
    return own or str(fault["msg"]).removeprefix("Input ").removeprefix("Value error, ")
