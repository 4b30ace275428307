"""Plain English: words that readers of other languages stumble over, in pages, helps and messages; see CONTRIBUTING.md.

No linter of prose that can be installed from a package index takes a list of words offline, so the list is held here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import camserve

ROOT = Path(camserve.__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
PAGES = [page for page in PAGES if page.name != "README.zh.md"]
# {what is written: what to write}. CONTRIBUTING.md has the same list.
WORDS = {
    r"at hand": "here, available",
    r"(?:go|goes|went|gone|going) on with": "resume, continue",
    r"goes on": "continues",
    r"(?:is|are|was|were|be) held against": "is compared with",
    r"anew": "again",
    r"lest": "so that ... not",
    r"as (?:it|they) comes?": "by default, with default settings",
    r"(?:is|are) dear(?:er|est)?": "expensive, slow",
    r"by turns": "alternately",
    r"for want of": "without, because there is no",
    r"unasked": "unless you ask",
    r"what is lacking": "what is missing",
    r"nought|naught|thrice|hereby|herein|therein|thereof|whereof|whereby|henceforth|aforesaid": "a plain word",
    r"utili[sz]e[sd]?": "use",
    r"in order to": "to",
    r"prior to": "before",
    r"simply|obviously|of course|needless to say": "nothing",
    r"amongst|whilst": "among, while",
    r"in whose place": "where, instead of",
    r"(?:and|or) the like": "and similar ...",
    r"said to be": "called, marked as",
    r"under ?way": "in progress, running",
    r"by and by": "later",
    r"one a line": "one per line",
    r"(?:put|puts) to the test": "test, check",
}
PATTERNS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): plain for words, plain in WORDS.items()}


def prose(text: str) -> str:
    """A page without what is no sentence of its own: code, links' targets, quotations of what programs print."""
    text = re.sub(r"^```.*?^```|^    [^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


def found(text: str) -> Iterator[str]:
    for pattern, plain in PATTERNS.items():
        for match in pattern.finditer(" ".join(text.split())):
            yield f"{match[0]!r}: write {plain!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    text = page.read_text()
    if page.name == "CONTRIBUTING.md":
        text = re.sub(r"## Plain English.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)  # quotes the list
    if page.name == "CHANGELOG.md":
        text = text.partition("\n## 0.6.0")[0]  # what was written before there was a list
    assert list(found(prose(text))) == []


def test_helps_and_messages_are_in_plain_english() -> None:
    """Every text of the package but docstrings of what is no command: helps, errors, warnings, words of pages."""
    wrong = []
    for path in sorted((ROOT / "camserve").rglob("*.py")):
        tree = ast.parse(path.read_text())
        silent = docstrings(tree) if "cli" not in path.parts else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent:
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno}: {one}" for one in found(node.value)]
    assert wrong == []


def docstrings(tree: ast.AST) -> set[ast.AST]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds)]
    return {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}


def test_contributing_has_the_list() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Plain English")[2]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
    assert set(WORDS.values()) <= set(rows.values())
    quoted = [phrase for row in rows for phrase in re.findall(r'"([^"]+)"', row)]
    assert len(quoted) > 15
    for phrase in quoted:
        assert list(found(phrase)), f"CONTRIBUTING.md forbids {phrase!r}, and the list does not find it"


def test_code_is_not_prose() -> None:
    page = "Fine.\n\n```bash\nlest at hand\n```\n\n    anew\n\n`dear` and [x](anew)\n"
    assert list(found(prose(page))) == []
    assert list(found(prose("Go on with\nit, lest it ends."))) == [
        "'Go on with': write 'resume, continue'", "'lest': write 'so that ... not'"
    ]  # fmt: skip
