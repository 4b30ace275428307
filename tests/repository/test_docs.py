"""Documentation is true: generated parts are fresh, every block of code runs, every link leads somewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import camserve
from camserve.catalogue import options
from camserve.catalogue.option_metadata import about
from camserve.cli import main
from camserve.config import settings
from camserve.images.reading import encode

ROOT = Path(camserve.__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the examples assume it, with photos/ in it; and this Python's commands on the path."""
    shutil.copytree(ROOT / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


PICTURE = r"[\w./*-]+\.(?:jpe?g|png|gif|webp|tiff?)\b"
# What writes a picture, in a line: a command's -o, Pillow's save, or bytes into a path.
MADE = re.compile(rf"""-o ({PICTURE})|\.save\(f?"({PICTURE})"|Path\("({PICTURE})"\)\.write_bytes""")
COPIED = re.compile(rf"cp ((?:{PICTURE} )+)({PICTURE}|\.)$")


def code(text: str) -> Iterator[str]:
    """The lines of a page's examples: of blocks of Python and shell, and commands that stand indented in the text."""
    language = None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in ("python", "bash", "sh", "console") or re.match(r" +(camserve|curl|cp|seq) ", line):
            yield line


def unknown_pictures(text: str, base: Path, packages: Path) -> list[str]:
    """The pictures that the examples of a page name and that are not there.

    There is what lies below `base`; in a package in .venv, as README.md's set-up for development leaves it; and what
    an earlier line of the page writes or copies.
    """
    made: set[str] = set()
    lacking = []
    for line in code(text):
        written = {name for found in MADE.findall(line) for name in found if name}
        if copied := COPIED.search(line):
            sources, end = copied[1].split(), copied[2]
            written |= {Path(source).name for source in sources} if end == "." else {end}
        for name in re.findall(PICTURE, line):
            installed = re.sub(r"^\.venv/lib/python3\*/site-packages/", "", name)
            place = base if installed == name else packages
            if name not in made | written and not any(place.glob(installed)):
                lacking.append(name)
        made |= written
    return lacking


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_picture_of_an_example_is_there(page: Path, photos: Path) -> None:
    assert unknown_pictures(page.read_text(), ROOT, photos.parents[1]) == []


def test_the_help_s_pictures_are_there(photos: Path) -> None:
    for name, command in {"": main, **main.commands}.items():
        with command.make_context(name, ["--help"], resilient_parsing=True, **main.context_settings) as context:
            text = command.get_help(context)
        assert unknown_pictures(text, ROOT, photos.parents[1]) == [], name


def test_a_picture_that_nobody_made_is_found() -> None:
    page = "An image, a.jpg.\n\n    camserve explain photos/cat.jpg -o out\n    curl @b.jpg -o why.png\n"
    page += "\n```python\nopen('why.png'), open('c.png')\n```\n\n```toml\nimage = 'yours.jpg'\n```\n\n"
    page += "    cp photos/cat.jpg photos/tripod.jpg .\n    camserve explain tripod.jpg \\\n        d.png\n"
    assert unknown_pictures(page, ROOT, ROOT) == ["b.jpg", "c.png", "d.png"]


def test_generated_parts_are_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"run python docs/generate.py: {checked.stdout}{checked.stderr}"


def test_the_readme_is_one_screen_and_the_chinese_one_has_its_blocks() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh.md"
    for page in (english, chinese):
        assert len(page.read_text().splitlines()) <= 65
    for language in ("bash", "python", "text"):
        assert blocks(chinese, language) == blocks(english, language)  # other tests run them
    links = [
        set(re.findall(r"\]\(([^)]+)\)", page.read_text())) - {"README.md", "README.zh.md"}
        for page in (english, chinese)
    ]
    assert links[0] == links[1]
    letters = re.findall(r"[\u4e00-\u9fff]", chinese.read_text())
    assert len(letters) > 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"(?:\]\(|src=\")([^)#\"]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/python.md", "docs/pictures.md", "docs/regions.md", "docs/comparing.md", "models/README.md"],
)
def test_python_examples_run(page: str, desk: Path) -> None:
    names: dict[str, object] = {}
    assert blocks(ROOT / page, "python")
    for block in blocks(ROOT / page, "python"):
        exec(compile(block, page, "exec"), names)
    assert (desk / "why.png").exists() or page not in ("README.md", "docs/python.md")


@pytest.mark.parametrize("client", ["requests", "kserve", "tritonclient"])
def test_the_programs_of_the_http_page_run(
    client: str, desk: Path, server: str, model: camserve.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(client)
    (code, *_) = (
        code for code in blocks(ROOT / "docs" / "http.md", "python") if re.search(f"(import|from) {client}", code)
    )
    exec(compile(code.replace("127.0.0.1:8080", urlsplit(server).netloc), client, "exec"), {})
    made = model.explain(desk / "photos" / "cat.jpg", target="tiger cat")
    assert capsys.readouterr().out.startswith(f"{made.class_name} {made.score}")
    if client != "requests":
        assert (desk / "why.png").read_bytes() == encode(made.overlay(), "png")


def test_the_program_that_runs_a_job_gets_the_picture(desk: Path, server: str, model: camserve.Model) -> None:
    pytest.importorskip("requests")
    (code,) = (code for code in blocks(ROOT / "docs" / "http.md", "python") if "/api/v1/jobs" in code)
    exec(compile(code.replace("127.0.0.1:8080", urlsplit(server).netloc), "jobs", "exec"), {})
    made = model.explain(desk / "photos" / "cat.jpg", method="groupcam")
    assert (desk / "why.png").read_bytes() == encode(made.overlay(), "png")


@pytest.mark.parametrize("page", ["README.md", "docs/http.md"])
def test_the_curl_lines_run(page: str, desk: Path, server: str) -> None:
    lines = [line.strip() for line in (ROOT / page).read_text().splitlines() if line.strip().startswith("curl")]
    assert lines
    begins = {".png": b"\x89PNG", ".jpeg": b"\xff\xd8", ".zip": b"PK", ".bin": b'{"model_name"', ".json": b"{"}
    for line in lines:
        command = line.replace("http://127.0.0.1:8080", server)
        subprocess.run(["bash", "-c", f"{command} --silent --fail"], check=True)
        made = desk / line.split()[-1]
        assert made.read_bytes().startswith(begins[made.suffix]), line
        made.unlink()


def test_the_http_page_names_every_option_and_status() -> None:
    from camserve.errors import CamserveError
    from camserve.web.request_options import Options

    text = (ROOT / "docs" / "http.md").read_text()
    for option in Options.model_fields:
        assert re.search(rf"^\| .*\b{option}\b.* \|", text, re.MULTILINE), option
    statuses = {error.status for error in CamserveError.__subclasses__()} - {500}
    assert all(str(status) in text for status in statuses)


def test_the_http_page_names_every_path_of_our_own() -> None:
    from camserve.config import load_settings
    from camserve.web.app import create_app
    from camserve.web.routes.openapi import describe
    from camserve.web.service import Service

    text, app = (ROOT / "docs" / "http.md").read_text(), create_app(service=Service(load_settings(environ={})))
    with app.app_context():
        paths = describe(app)["paths"]
    for path in paths:  # those of /v1 and /v2 are as their protocols have them
        assert path.startswith(("/v1", "/v2")) or path.replace("{name}", "{model}") in text, path


def test_the_readme_s_command_lines_run(desk: Path) -> None:
    if shutil.which("camserve") is None:
        pytest.skip("camserve is not installed as a command; pip install -e .")
    lines = [line for block in blocks(ROOT / "README.md", "bash") for line in block.splitlines()]
    lines = [line for line in lines if line.startswith(("camserve explain", "camserve batch"))]
    assert [line.split()[1] for line in lines] == ["explain", "batch"]
    for line in lines:
        subprocess.run(["bash", "-c", line], check=True, stdout=subprocess.DEVNULL)
    assert (desk / "out" / "cat.jpg" / "overlay.png").exists()
    assert (desk / "signed" / "index.html").exists()


def test_the_first_command_shows_what_the_readme_says_it_does(desk: Path, model: camserve.Model) -> None:
    text = (ROOT / "README.md").read_text()
    first, said = re.findall(r"^```(?:bash|text)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[:2]
    setup, install, batch = first.strip().split(" && ")
    assert (setup, install) == ("python3 -m venv .venv", ".venv/bin/pip install -e .")
    result = CliRunner().invoke(main, batch.split()[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout == said
    assert "right" not in said  # nobody said which classes they show
    for name, scene in (("chelsea", "cat"), ("coffee", "coffee"), ("camera", "tripod")):
        made, shown = (desk / "out" / "overlays" / f"{scene}.jpg.jpg", ROOT / "docs" / f"{name}.jpg")
        with Image.open(made) as now, Image.open(shown) as then:
            assert np.abs(np.asarray(now, int) - np.asarray(then, int)).mean() < 2


def test_the_readme_s_test_command_is_what_ci_runs() -> None:
    (command,) = (b.strip() for b in blocks(ROOT / "README.md", "bash") if "pytest" in b)
    script = (ROOT / ".ci" / "run").read_text()
    assert 'pip install --quiet -e ".[dev]"' in script
    assert command.endswith(script.strip().splitlines()[-1])


def test_links_within_a_page_lead_to_a_heading() -> None:
    for page in PAGES:
        text = page.read_text()
        titles = re.findall(
            r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
        )
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        anchors |= set(re.findall(r'<a id="([^"]+)"', text))
        for link in re.findall(r"\]\(#([^)]+)\)", text):
            assert link in anchors, f"{page.name} links to #{link}"


def test_every_command_has_its_section() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for command in main.commands:
        assert f"\n## {command}\n" in text


def test_defaults_that_help_mentions_are_the_settings() -> None:
    text = CliRunner().invoke(main, ["explain", "--help"]).output
    for default in (settings().render.colormap, settings().explain.method, settings().explain.size):
        assert f"Default: {default}." in " ".join(text.split())


@pytest.mark.parametrize("kind", [options.ExplainOptions, options.OverlayOptions, options.Questioned])
def test_defaults_in_words_are_the_settings(kind: type) -> None:
    for one, _ in about(kind).values():
        if one.settings:
            section, key = one.settings[0].split(".")
            value = getattr(getattr(settings(), section), key)
            assert one.unset == ({True: "on", False: "off"}[value] if isinstance(value, bool) else str(value))


def test_nothing_names_a_private_place() -> None:
    """What a reader of the project does not have is not mentioned."""
    for path in (*PAGES, *ROOT.glob("camserve/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "config.toml"):
        assert not re.search(r"/root/|/home/|/tmp/", path.read_text()), path
