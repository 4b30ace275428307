"""The page of a batch: everything to sort, filter and look at in a browser, straight from the disk.

One file with its styles and program inside. The rows are data in it, and only what is on the screen is ever an
element, so 10,000 images are no more work for a browser than 30; thumbnails are loaded from OUT as they come by.
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
MOST_TEXTS = 10_000  # that are kept while a page is written
_DATA = "@data@"


def write_report(
    out: Path, source: str, model: str, findings: Findings, facts: dict[str, Any], colormaps: tuple[str, str]
) -> None:
    """Write OUT/index.html from OUT/results.jsonl. source: of the images. model: its name. Raises OutputError.

    facts: of `write_findings`. colormaps: names of the colours of maps, and of differences of two.
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
    """A page of templates/NAME.html, .css and .js with `about` and `rows` as data, row by row. Raises OutputError."""
    parts = {kind: (TEMPLATES / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    page = PAGES.get_template(f"{name}.html").render(**words, **parts, about=safe(about), data=_DATA)
    before, after = page.split(_DATA)
    with writing(path) as file:
        file.write(before.encode("utf-8", "backslashreplace"))
        for place, row in enumerate(rows):
            file.write((",\n" if place else "").encode() + safe(row).encode("utf-8", "backslashreplace"))
        file.write(after.encode("utf-8", "backslashreplace"))


def safe(value: Any) -> str:
    """JSON that can stand in a page: no "<" of a file's name ends the script it is in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


class Texts:
    """Texts that rows have in common: a row names them by their places, so that a page of many rows is smaller."""

    def __init__(self) -> None:
        self.places = {"": 0}

    def __call__(self, text: str) -> int | str:
        """The place of a text; of more than MOST_TEXTS the text itself."""
        if len(self.places) < MOST_TEXTS:
            return self.places.setdefault(text, len(self.places))
        return self.places.get(text, text)

    def path(self, path: str | None, file: str) -> int | str:
        """Of a path with the file's name in it, as "overlays/*.jpg" stands for it; 0 of none."""
        before, found, after = (path or "").rpartition(file)
        return self(f"{before}*{after}") if found and "*" not in before else path or 0


def _compacted(out: Path, findings: Findings) -> Iterator[list[Any]]:
    """What the page shows of each image and, last, the texts that these name."""
    texts = Texts()
    yield from (compact(row, findings, texts) for row in read_rows(out))
    yield list(texts.places)


def compact(row: Row, findings: Findings, texts: Texts) -> list[Any]:
    """What the page shows of one image, in an order that report.js knows; texts and pictures as `Texts` gives them.

    [file, error, flags, border, deviations, [expected class, its score] or 0, [explanation ...]], an explanation being
    [class, score, method, target, overlay, thumbnail, warnings, value, trust, against], the main one first. trust:
    [verdict, probability] or 0. against: [picture, the end of its scale, unit] or 0, of a wrong answer.
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
    end = float(f"{found['scale']:.4g}")  # which may be tiny, in a method's own unit
    return [texts.path(one["files"]["against"], file), end, texts(found["unit"])]


def _short(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
