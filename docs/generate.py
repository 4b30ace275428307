"""Rewrite what the documentation takes from the code: `python docs/generate.py`; with --check only compare.

A page holds such a part between `<!-- generated: NAME -->` and `<!-- end -->`; PARTS says what NAME gives.
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from click.testing import CliRunner

from camserve import errors
from camserve.catalogue import options
from camserve.catalogue.metric import Group
from camserve.catalogue.metrics import METRICS, metrics_of
from camserve.catalogue.option_metadata import About, Declared, about
from camserve.cli import main as program
from camserve.config import shipped
from camserve.methods import FAMILIES, METHODS, Method
from camserve.models.architectures.other_kinds import KINDS
from camserve.web.request_options import described

PAGES = Path(__file__).parent
BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def methods() -> str:
    """The registry of methods."""
    rows = ((f"[`{m.name}`](#{anchor(m)})", m.summary, m.needs, m.cost) for m in METHODS.values())
    return table(("name", "what the map shows", "needs", "cost besides the prediction"), rows)


def anchor(method: Method) -> str:
    """The address of a method's heading; left to GitHub, Grad-CAM's and Grad-CAM++'s would be the same."""
    return f"method-{method.name.replace('+', 'p')}"


def notes() -> str:
    """All about each method, family by family."""
    text = []
    for family, members in FAMILIES.items():
        text.append(f"### {family}\n")
        for method in members:
            note = method.note
            facts = {"Map": f"`{note.formula}`", "Use": note.use, "Fails": note.fails, "Needs": method.needs}
            facts |= {"Cost": method.cost, "Source": method.source}
            said = "".join(f"- {word}: {fact}\n" for word, fact in facts.items())
            head = f'#### <a id="{anchor(method)}"></a>{method.title} `{method.name}`'
            text.append(f"{head}\n\n{method.summary[0].upper()}{method.summary[1:]}.\n\n{said}")
    return "\n".join(text)


def metrics() -> str:
    """The registry of metrics."""
    rows = ((f"[`{m.name}`](#metric-{m.name})", m.group, m.summary, m.better, m.asks, m.cost) for m in METRICS.values())
    return table(("name", "group", "what it measures", "better", "needs", "runs"), rows)


def metric_notes() -> str:
    """All about each metric, group by group."""
    text = []
    for group in Group:
        text.append(f"### {group.capitalize()}\n")
        for metric in metrics_of(group):
            low, high = ("no limit" if end is None else f"{end:g}" for end in metric.range)
            facts = {"Definition": metric.definition, "Range": f"{low} to {high}; {metric.unit}", "Tells": metric.tells}
            facts |= {"Does not tell": metric.does_not_tell, "Source": metric.source}
            said = "".join(f"- {word}: {fact}\n" for word, fact in facts.items())
            head = f'#### <a id="metric-{metric.name}"></a>{metric.title} `{metric.name}`'
            text.append(f"{head}\n\n{metric.summary[0].upper()}{metric.summary[1:]}.\n\n{said}")
    return "\n".join(text)


def settings() -> str:
    """config.toml as a table: key, default, reason, variable."""
    text, rows = shipped("config.toml").read_text(), []
    for section, keys in tomllib.loads(text).items():
        body = re.search(rf"^\[{section}\]\n(.*?)(?=^\[|\Z)", text, re.DOTALL | re.MULTILINE)
        assert body is not None
        for key, value in keys.items():
            reason = re.search(rf"^{key} = .*?(?:#(.*(?:\n +#.*)*)|$)", body[1], re.MULTILINE)
            words = re.sub(r"\s*\n +#\s*", " ", (reason and reason[1]) or "").strip()
            rows.append((f"`{section}.{key}`", f"`{value!r}`", f"`CAMSERVE_{section}_{key}`".upper(), words))
    return table(("setting", "default", "variable", "meaning"), rows)


def command_help(command: str) -> str:
    """What `camserve COMMAND --help` prints."""
    arguments = [] if command == "camserve" else [command]
    result = CliRunner().invoke(program, [*arguments, "--help"], prog_name="camserve", terminal_width=100)
    text = "\n".join(line.rstrip() for line in result.output.splitlines())
    return f"```\n{text}\n```\n"


def inspection() -> str:
    """What `camserve inspect` prints about the embedded model, whatever is set on this machine."""
    settings = dict.fromkeys(name for name in os.environ if name.startswith("CAMSERVE_"))
    result = CliRunner(env={**settings, "COLUMNS": "100"}).invoke(program, ["inspect"], catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(result.output)
    text = "\n".join(line.rstrip() for line in result.output.splitlines())
    return f"```\n{text}\n```\n"


def error_codes() -> str:
    """Every error's code, HTTP status and exit status."""
    classes = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CamserveError)]
    rows = ((f"`{e.code}`", e.status, e.exit_code, (e.__doc__ or "").split("\n")[0]) for e in classes[1:])
    return table(("code", "HTTP status", "exit status", "meaning"), rows)


def kinds_of_files() -> str:
    """Files that are no model here, and what makes one of them that loads."""
    rows = (
        (", ".join(f"`{end}`" for end in kind.suffixes), kind.what, f"{kind.recipe} ([more](#{kind.anchor}))")
        for kind in KINDS
    )
    return table(("a name that ends with", "is", "what to do"), rows).replace("{path}", "FILE")


def options_of(*kinds: type) -> str:
    """Classes of options as Python takes them."""
    declared = {name: known for kind in kinds for name, known in about(kind).items()}
    return option_table(declared, ("`True`", "`False`"), '"')


def request_options() -> str:
    """The options of a request."""
    return option_table(described(), ("`on`", "`off`"))


def option_table(declared: Declared, switch: tuple[str, str], quote: str = "") -> str:
    """What each option is, what it may be and what holds without it.

    switch: what a door calls on and off. quote: what it puts around text.
    """
    rows = []
    for name, (one, default) in declared.items():
        what = one.help + (f"; see [{one.see.partition('#')[0]}]({one.see})" if one.see else "")
        rows.append((name, what, _values(one, switch, quote), _unset(one, default, switch, quote)))
    return table(("option", "what", "values", "default"), rows)


def _values(one: About, switch: tuple[str, str], quote: str) -> str:
    """The values of an option: all there are, or a range, or their type."""
    if one.choices:
        return ", ".join(f"`{quote}{choice}{quote}`" for choice in one.choices)
    if one.wire is bool:
        return ", ".join(switch)
    numbers = " ".join(word for word in (one.range, one.unit) if word)
    if one.switch and not quote:  # over HTTP
        return f"{', '.join(switch)}, {numbers}"
    kinds = {str: "text", int: "whole number", float: "number"}
    return numbers or (f"`{one.form}`" if one.form else kinds.get(one.wire, "number or text"))


def _unset(one: About, default: object, switch: tuple[str, str], quote: str) -> str:
    """What holds where an option is left out, and the settings that say so."""
    if isinstance(default, bool):
        words = switch[not default]
    elif one.wire is bool:  # a setting decides
        words = switch[one.unset != "on"]
    elif default in (None, ()):
        words = one.unset or "none"
    else:
        words = f"`{quote}{default}{quote}`" if isinstance(default, str) else str(default)
    return f"{words} ({', '.join(f'`{setting}`' for setting in one.settings)})" if one.settings else words


PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "notes": notes,
    "metrics": metrics,
    "metric notes": metric_notes,
    "settings": settings,
    "errors": error_codes,
    "kinds of files": kinds_of_files,
    "options explain": lambda: options_of(options.Targeted, options.ExplainOptions),
    "options overlay": lambda: options_of(options.OverlayOptions),
    "options request": request_options,
    "inspection": inspection,
    **{
        f"help {name}": (lambda name=name: command_help(name))  # type: ignore[misc]
        for name in ("camserve", *program.commands)
    },
}


def renewed(page: str) -> str:
    """`page` with every generated part made anew."""
    return BLOCK.sub(lambda match: match[1] + PARTS[match[2]]() + match[3], page)


def main() -> None:
    """Rewrite every page, or with --check end with 1 where one is old."""
    pages = [PAGES.parent / "README.md", *sorted(PAGES.glob("*.md"))]
    old = [path for path in pages if renewed(path.read_text()) != path.read_text()]
    for path in old:
        sys.stdout.write(f"old: {path.name}\n" if "--check" in sys.argv else f"rewritten: {path.name}\n")
        if "--check" not in sys.argv:
            path.write_text(renewed(path.read_text()))
    if old and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
