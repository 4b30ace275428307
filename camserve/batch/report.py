"""The page of a batch: what every file gave, to look at in a browser, straight from the disk."""

from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, select_autoescape

import camserve
from camserve.batch.rows import read_rows
from camserve.files import write_whole
from camserve.models import Model

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"), autoescape=select_autoescape()
)
_PAGES.filters["href"] = lambda path: quote(path)


def write_report(out: Path, model: Model, explained: int, failed: int) -> None:
    """Write OUT/index.html from OUT/results.jsonl. Raises OutputError."""
    page = _PAGES.get_template("report.html").render(
        rows=list(read_rows(out)),
        explained=explained,
        failed=failed,
        model=model,
        version=camserve.__version__,
    )
    write_whole(out / "index.html", page.encode())
