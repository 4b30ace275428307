"""Options that take several numbers, "--mean 0 0 0" or "--mean 0,0,0", and options that take NAME=VALUE."""

import tomllib
from typing import Any

import click


class _Numbers(click.ParamType):  # type: ignore[type-arg] # generic from click 8.5 on
    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of numbers, whole ones as int."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(_number(one) for one in value.replace(",", " ").split())
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers, such as 0 0 0", param, ctx)


NUMBERS = _Numbers()


class Listing(click.Command):
    """A command whose options of type NUMBERS take all numbers that follow them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Like click's parse_args, but the numbers of an option become one value."""
        names = {name for one in self.params if one.type is NUMBERS for name in one.opts}
        made, left = list[str](), list(args)
        while left:
            made.append(left.pop(0))
            if made[-1] in names:
                count = next((place for place, one in enumerate(left) if not _is_number(one)), len(left))
                made += [",".join(left[:count])] if count else []
                left = left[count:]
        return super().parse_args(ctx, made)


def read_arguments(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any] | None:
    """{name: value} for each NAME=VALUE. A value that is not TOML becomes a string."""
    found = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.isidentifier():
            raise click.BadParameter(f"{one!r} is not NAME=VALUE, such as meta=[0.5, 1.0]", ctx, param)
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found or None


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _is_number(text: str) -> bool:
    try:
        return all(float(one) == float(one) for one in text.replace(",", " ").split())
    except ValueError:
        return False
