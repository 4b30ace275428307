"""The page of a batch: it shows, sorts and filters all results in a browser, without a server.

The page is one file with its styles and its program. It holds the rows as data, and creates elements only for cards on
the screen, so 10,000 images are as fast as 30. The browser loads a thumbnail from OUT when its card is on the screen.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, select_autoescape

from camserve.catalogue.colormaps import colours
from camserve.catalogue.run_files import PAGE
from camserve.findings.findings import Findings
from camserve.findings.results import Row, read_rows
from camserve.findings.sentences import sentences
from camserve.findings.statistics import main_explanation
from camserve.system.files import writing
from camserve.version import __version__

TEMPLATES = Path(__file__).parent / "templates"
PAGES = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape())
PAGES.filters["href"] = lambda path: quote(os.fsencode(path))
MOST_TEXTS = 10_000  # most texts that are kept while a page is written
_DATA = "@data@"


def write_report(
    out: Path, source: str, model: str, findings: Findings, facts: dict[str, Any], colormaps: tuple[str, str]
) -> None:
    """Write OUT/index.html from OUT/results.jsonl. Raises OutputError.

    source: where the images come from. model: the name of the model. facts: from `write_findings`. colormaps: the
    colour map for maps, and the one for differences of two classes.
    """
    about = {
        "model": model,
        "labels": list(findings.labels),
        "palette": base64.b64encode(colours(colormaps[0])).decode(),
        "signed": base64.b64encode(colours(colormaps[1])).decode(),
        "findings": {key: facts[key] for key in ("alike", "classes", "border", "corners")},
        "sentences": [one._asdict() for one in sentences(facts)],
        "right": findings.answers.in_words,
        "answers": facts["answers"],
    }
    words = {"version": __version__, "source": source, "answers": (TEMPLATES / "answers.js").read_text("utf-8")}
    write_page(out / PAGE, "report", words, about, _compacted(out, findings))


def write_page(path: Path, name: str, words: dict[str, Any], about: dict[str, Any], rows: Iterable[Any]) -> None:
    """Write a page from templates/NAME.html, .css and .js, with `about` and `rows` as data. Raises OutputError."""
    parts = {kind: (TEMPLATES / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    page = PAGES.get_template(f"{name}.html").render(**words, **parts, about=safe(about), data=_DATA)
    before, after = page.split(_DATA)
    with writing(path) as file:
        file.write(before.encode("utf-8", "backslashreplace"))
        for place, row in enumerate(rows):
            file.write((",\n" if place else "").encode() + safe(row).encode("utf-8", "backslashreplace"))
        file.write(after.encode("utf-8", "backslashreplace"))


def safe(value: Any) -> str:
    """JSON that is safe inside a script of a page: "<", for example in a file name, is escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


class Texts:
    """A table of texts that occur in many rows. Rows refer to texts by index, which makes the page smaller."""

    def __init__(self) -> None:
        self.places = {"": 0}

    def __call__(self, text: str) -> int | str:
        """The index of a text, or the text itself if the table has MOST_TEXTS texts already."""
        if len(self.places) < MOST_TEXTS:
            return self.places.setdefault(text, len(self.places))
        return self.places.get(text, text)

    def path(self, path: str | None, file: str) -> int | str:
        """The index of a path. The file's name in it is replaced by a star, as in "overlays/*.jpg". 0 for no path."""
        before, found, after = (path or "").rpartition(file)
        return self(f"{before}*{after}") if found and "*" not in before else path or 0


def _compacted(out: Path, findings: Findings) -> Iterator[list[Any]]:
    """The rows of the page and, last, the table of texts that they refer to."""
    texts = Texts()
    yield from (compact(row, findings, texts) for row in read_rows(out))
    yield list(texts.places)


def compact(row: Row, findings: Findings, texts: Texts) -> list[Any]:
    """One image for the page, in the order that report.js expects. Texts and pictures are values of `Texts`.

    The row is [file, error, flags, border, deviations, [expected class, its score] or 0, [explanation ...]]. An
    explanation is [class, score, method, target, overlay, thumbnail, warnings, value, trust, against], the main one
    first. trust: [verdict, probability] or 0. against: [picture, end of its scale, unit] for a wrong answer, or 0.
    """
    one = main_explanation(row)
    if one is None:
        return [row["file"], row["error"], ["failed"], None, None, 0, []]
    away = findings.away(one)
    expected = row["expected"]
    others = [other for other in row["explanations"] if other is not one]
    return [
        row["file"],
        0,
        findings.flags(row, one),
        one["border"],
        None if away is None else round(away, 1),
        [expected["class_index"], _short(expected["score"])] if expected else 0,
        [_explanation(each, row["file"], texts) for each in (one, *others)],
    ]


def _explanation(one: Row, file: str, texts: Texts) -> list[Any]:
    files = one["files"]
    pictures = [texts.path(files.get(kind) or files.get("heatmap"), file) for kind in ("overlay", "thumbnail")]
    said = one["class_index"], _short(one["score"]), texts(one["method"]), texts(one["target"])
    warnings = [texts(text) for text in one["warnings"]]
    return [*said, *pictures, warnings, _short(one.get("value")), _trust(one), _against(one, file, texts)]


def _trust(one: Row) -> list[Any] | int:
    found = one.get("trust")
    return [found["verdict"], _short(found["probability"])] if found else 0


def _against(one: Row, file: str, texts: Texts) -> list[Any] | int:
    found = one.get("against")
    if not found:
        return 0
    end = float(f"{found['scale']:.4g}")  # may be very small in a method's own unit
    return [texts.path(one["files"]["against"], file), end, texts(found["unit"])]


def _short(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
