"""The documentation as a site: built with warnings as errors, every page in its menu, every link leading somewhere."""

import functools
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from conftest import in_background

import camserve

ROOT = Path(camserve.__file__).parent.parent
# What people search for, and the page that answers it.
ANSWERS = {
    "which layer": "faithful.html",
    "resume": "scale.html",
    "ONNX": "models.html",
    "negative": "comparing.html",
    "GPU": "speed.html",
    "my own model": "models.html",
    "confidence": "trust.html",
}
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


def run(root: Path, *words: str, whole: bool = False) -> "subprocess.CompletedProcess[str]":
    """A command of this Python's. whole: with the page of docstrings, which takes most of the time."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mike asks for mkdocs by name
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "CAMSERVE_API_PAGES": str(whole).lower(), "PATH": path}
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def build(root: Path, out: Path, *, whole: bool = False) -> "subprocess.CompletedProcess[str]":
    return run(root, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out), whole=whole)


def copied(root: Path) -> Path:
    """A folder with what the site is made of."""
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, root / name)
    return root


@pytest.fixture(scope="module")
def needs_mkdocs() -> None:
    for package in ("mkdocs", "material", "mkdocstrings", "mike"):
        if importlib.util.find_spec(package) is None:
            pytest.skip('the site is built by mkdocs-material: pip install "camserve[docs]"')


@pytest.fixture(scope="module")
def site(needs_mkdocs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out, whole=True)
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
    assert pages | {"index.html", "cards.html", "measured.html", "api.html"} <= {name or "index.html" for name in found}


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The address of the site, as a browser sees it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Writes no log of requests."""

    handler = functools.partial(Quiet, directory=str(site))
    with in_background(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as origin:
        yield origin


@pytest.mark.parametrize("words", ANSWERS)
def test_a_search_finds_the_right_page_first(words: str, served: str, browser: Any) -> None:
    """By the site's own search, in a browser."""
    page = browser.new_page()
    page.goto(f"{served}/index.html?q={words}")
    first = page.wait_for_selector(".md-search-result__item a")
    assert first.get_attribute("href").partition("?")[0].rpartition("/")[2] == ANSWERS[words]
    page.close()


def test_each_page_says_who_it_is_for() -> None:
    for path in (*(ROOT / "docs").glob("*.md"), ROOT / "models" / "README.md", ROOT / "benchmarks" / "README.md"):
        title, empty, first = path.read_text().splitlines()[:3]
        assert title.startswith("# "), path
        assert not empty, path
        assert first.startswith("For "), (
            f"{path.name}: the first sentence says whom the page is for: For people who ..."
        )


def test_the_menu_is_tutorial_how_to_reference_and_explanation() -> None:
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert re.findall(r"^  - ([\w-]+):", text, re.MULTILINE) == [
        "Start",
        "Tutorial",
        "How-to",
        "Reference",
        "Explanation",
    ]


def test_the_api_page_has_every_public_name_with_its_arguments(site: Path) -> None:
    text = (site / "api.html").read_text()
    anchors = Links(site / "api.html").anchors
    public = {"camserve.load", "camserve.batch.run_batch", "camserve.errors.OptionError"}
    for kind in (camserve.Model, camserve.Explanation):
        own = {name for name, value in vars(kind).items() if callable(value) or isinstance(value, property)}
        public |= {f"camserve.{kind.__name__}.{name}" for name in own if not name.startswith("_")}
    assert public <= anchors
    explain = html.unescape(re.sub("<[^>]+>", "", text.partition('id="camserve.Model.explain"')[2]))[:3000]
    for argument in ("target: ", "method: str | None = None", "trust: bool = False", "-> Explanation"):
        assert argument in " ".join(explain.split()), argument


@pytest.mark.usefixtures("needs_mkdocs")
def test_lost_links_end_the_build(tmp_path: Path) -> None:
    copied(tmp_path)
    with (tmp_path / "docs" / "speed.md").open("a") as page:
        page.write("\n[lost](nowhere.md), [lost](cli.md#neverwhere)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "'nowhere.md'" in done.stderr
    assert "#neverwhere" in done.stderr


@pytest.mark.usefixtures("needs_mkdocs")
def test_versions_stand_side_by_side(tmp_path: Path) -> None:
    """As docs/README.md says, in a repository of its own."""
    lines = re.findall(r"`mike ([^`]+)`", " ".join((ROOT / "docs" / "README.md").read_text().split()))
    assert [line.split()[0] for line in lines] == ["deploy", "set-default"]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=copy, check=True, capture_output=True, text=True).stdout

    copy = copied(tmp_path)
    git("init", "--quiet")
    git("config", "user.name", "a test")
    git("config", "user.email", "test@example.org")
    git("commit", "--quiet", "--allow-empty", "--message", "begun")
    for line in (lines[0].replace("0.7", "0.6"), *lines):
        done = run(copy, "-c", "from mike.driver import main; main()", *line.split())
        assert done.returncode == 0, done.stderr
    versions = json.loads(git("show", "gh-pages:versions.json"))
    assert [(one["version"], one["aliases"]) for one in versions] == [("0.7", ["latest"]), ("0.6", [])]
    assert "latest/" in git("show", "gh-pages:index.html")
    kept = set(git("ls-tree", "-r", "--name-only", "gh-pages").split())
    assert {"0.7/models.html", "0.6/models.html", "0.7/search/search_index.json", "latest"} <= kept
