"""The documentation as a site: built with warnings as errors, every page in its menu, every link leading somewhere."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import camserve

ROOT = Path(camserve.__file__).parent.parent
NEEDED = ("docs", "deploy", "models/README.md", "benchmarks/README.md", "mkdocs.yml")


class Links(HTMLParser):
    """What a page links to and shows, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.to: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called with each element."""
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "link":
                self.to.append(value)
            if name == "id" and value:
                self.anchors.add(value)


def build(root: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def needs_mkdocs() -> None:
    for package in ("mkdocs", "material"):
        if importlib.util.find_spec(package) is None:
            pytest.skip('the site is built by mkdocs-material: pip install "camserve[docs]"')


@pytest.fixture(scope="module")
def site(needs_mkdocs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 20
    lost = []
    for page, links in pages.items():
        for link in links.to:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages.get(target)
            if not target.exists() or (known and parts.fragment and parts.fragment not in known.anchors):
                lost.append(f"{page.name} -> {link}")
    assert lost == []


def test_every_page_can_be_searched(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].split("#")[0] for entry in index["docs"]}
    pages = {page.with_suffix(".html").name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"}
    assert pages | {"index.html", "cards.html", "measured.html"} <= {name or "index.html" for name in found}


@pytest.mark.usefixtures("needs_mkdocs")
@pytest.mark.parametrize("fault", ["[lost](nowhere.md)", "[lost](cli.md#nowhere)"])
def test_a_lost_link_ends_the_build(fault: str, tmp_path: Path) -> None:
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "speed.md").open("a") as page:
        page.write(f"\n{fault}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
