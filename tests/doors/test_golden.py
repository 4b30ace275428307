"""What people see of camserve, word for word: every help, the HTTP description, the Python signatures.

The texts lie in tests/doors/golden/. Where one of them is to change, rewrite it and look at the difference:

    python -m pytest tests/doors/test_golden.py --rewrite && git diff tests/doors/golden
"""

import ast
import dataclasses
import inspect
import json
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from difflib import unified_diff
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import camserve
from camserve.cli import main
from camserve.explain import pipeline as explain

GOLDEN = Path(__file__).parent / "golden"
# Phrases that Python 3.13 has changed.
PHRASES = {"Request Entity Too Large": "Content Too Large", "Unprocessable Entity": "Unprocessable Content"}


@pytest.fixture
def holds(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name, or, with --rewrite, writes it."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--rewrite"):
            path.write_text(text, encoding="utf-8")
        known = path.read_text(encoding="utf-8")
        lines = unified_diff(
            known.splitlines(), text.splitlines(), f"tests/doors/golden/{name}", "as it is now", n=1, lineterm=""
        )
        if known != text:
            pytest.fail(
                f"what people see has changed: {name}. If that is meant, run python -m pytest "
                "tests/doors/test_golden.py --rewrite, and commit what it writes.\n" + "\n".join(lines),
                pytrace=False,
            )

    return check


def test_every_help(holds: Callable[[str, str], None]) -> None:
    """Laid out by click 8.5; another one may wrap lines and write defaults and ranges in its own way."""
    texts = []
    for words in commands(main):
        helped = CliRunner().invoke(main, [*words, "--help"], prog_name="camserve", terminal_width=120)
        assert helped.exit_code == 0, helped.output
        lines = [line.rstrip() for line in helped.output.splitlines()]
        texts.append("\n".join([f"# {' '.join(('camserve', *words))} --help", "", *lines, ""]))
    holds("help.txt", "\n".join(texts))


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it."""
    yield words
    for name, one in sorted(command.commands.items()) if isinstance(command, click.Group) else ():
        yield from commands(one, (*words, name))


def test_the_description_of_the_service(server: str, holds: Callable[[str, str], None]) -> None:
    """Schemas are worded by pydantic 2.14; another one may add a key."""
    with urllib.request.urlopen(f"{server}/openapi.json", timeout=60) as answer:
        described = json.load(answer)
    described["info"]["version"] = "VERSION"
    holds("openapi.json", json.dumps(normal(described), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def normal(part: Any) -> Any:
    """`part` of a description without what depends on the versions of Python and of what encodes PNG."""
    if isinstance(part, dict):
        return {key: normal(value) for key, value in part.items()}
    if isinstance(part, list):
        return [normal(value) for value in part]
    if isinstance(part, str) and part.startswith("iVBORw0KGgo"):
        return "PNG in base64"
    return PHRASES.get(part, part) if isinstance(part, str) else part


def test_every_public_signature(model: camserve.Model, cat: Path, holds: Callable[[str, str], None]) -> None:
    made = model.explain(cat)
    several = {"top()": made.top(), "boxes()": made.boxes(), "polygons()": made.polygons(), "at(x, y)": made.at(9, 9)}
    parts = {
        "camserve": [signature(n, getattr(camserve, n)) for n in sorted(camserve.__all__)],
        "camserve.explain": sorted(signature(name, one) for name, one in functions(explain)),
        "camserve.Model": members(camserve.Model, vars(model)),
        "camserve.Explanation": members(camserve.Explanation),
        **{f"each of Explanation.{name}": fields(type(found[0])) for name, found in several.items()},
        "camserve.CamserveError": list(tree(camserve.CamserveError)),
    }
    holds("signatures.txt", "\n".join(f"# {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts.items()))


def functions(module: Any) -> Iterator[tuple[str, Any]]:
    """The public functions that a module, or a package of that name, defines."""
    for name, one in vars(module).items():
        home = getattr(one, "__module__", "")
        if inspect.isfunction(one) and not name.startswith("_") and f"{home}.".startswith(f"{module.__name__}."):
            yield name, one


def members(kind: type, instance: dict[str, Any] | None = None) -> list[str]:
    """The public fields, attributes and methods of a class, and the attributes of one instance of it."""
    own = fields(kind) if dataclasses.is_dataclass(kind) else []
    known = {name: one for name, one in inspect.getmembers_static(kind) if not name.startswith("_")}
    named = {field.name for field in dataclasses.fields(kind)} if own else set()
    left = {name for name in instance or {} if not name.startswith("_")} - set(known)
    return own + sorted([*(signature(name, one) for name, one in known.items() if name not in named), *left])


def fields(kind: Any) -> list[str]:
    """The fields of a data class in their order, with types as the source writes them, and defaults."""
    written: dict[str, str] = {}
    for one in (one for one in reversed(kind.__mro__) if dataclasses.is_dataclass(one)):
        (body,) = (node for node in ast.walk(parsed(one)) if isinstance(node, ast.ClassDef))
        lines = (node for node in body.body if isinstance(node, ast.AnnAssign))
        written |= {ast.unparse(line.target): ast.unparse(line) for line in lines}
    return [written[field.name] for field in dataclasses.fields(kind)]


def signature(name: str, one: Any) -> str:
    """A function or property as the source writes it; inspect.signature words types otherwise in each Python."""
    if isinstance(one, staticmethod | classmethod):
        one = one.__func__
    if hasattr(one, "__signature__"):  # made by camserve.catalogue.options.takes: types are those of the options
        made = inspect.signature(one)
        given = [each.replace(annotation=each.empty) for each in made.parameters.values()]
        return f"{name}{made.replace(parameters=given, return_annotation=made.empty)}"
    function = {property: "fget", cached_property: "func"}.get(type(one))
    code = inspect.unwrap(getattr(one, function) if function else one) if callable(one) or function else None
    if not inspect.isfunction(code):
        return name
    (node,) = parsed(code).body
    assert isinstance(node, ast.FunctionDef)
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}{gives}" if function else f"{name}({ast.unparse(node.args)}){gives}"


def parsed(one: Any) -> ast.Module:
    """The source of a class or function, without the quotes around types."""
    found = ast.parse(textwrap.dedent(inspect.getsource(one)))
    for node in ast.walk(found):
        for place in ("annotation", "returns"):
            if (kind := getattr(node, place, None)) is not None:
                setattr(node, place, ast.Name(ast.unparse(kind).replace("'", "")))
    return found


def tree(kind: type[camserve.CamserveError], depth: int = 0) -> Iterator[str]:
    """An error and all below it, with what is stable of them."""
    yield f"{'  ' * depth}{kind.__name__}: code {kind.code}, status {kind.status}, exit code {kind.exit_code}"
    for one in sorted(kind.__subclasses__(), key=lambda one: one.__name__):
        if one.__module__ == kind.__module__:  # not those that are for a module's own use
            yield from tree(one, depth + 1)
