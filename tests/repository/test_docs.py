"""Documentation is true: generated parts are fresh, every block of code runs, every link leads somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from conftest import picture

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
def desk(tmp_path: Path, cat: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the examples assume it: cat.jpg, coffee.png, photos/; and this Python's commands on the path."""
    picture(1, (300, 200)).save(tmp_path / "cat.jpg")
    shutil.copy(cat, tmp_path / "coffee.png")
    (tmp_path / "photos").mkdir()
    shutil.copy(cat, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_generated_parts_are_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"run python docs/generate.py: {checked.stdout}{checked.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"(?:\]\(|src=\")([^)#\"]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/python.md", "docs/pictures.md", "docs/regions.md", "docs/comparing.md"]
)
def test_python_examples_run(page: str, desk: Path) -> None:
    names: dict[str, object] = {}
    assert blocks(ROOT / page, "python")
    for block in blocks(ROOT / page, "python"):
        exec(compile(block, page, "exec"), names)
    assert (desk / "why.png").exists() or page in ("docs/pictures.md", "docs/regions.md", "docs/comparing.md")


@pytest.mark.parametrize("client", ["requests", "kserve", "tritonclient"])
def test_the_programs_of_the_http_page_run(
    client: str, desk: Path, server: str, model: camserve.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(client)
    (code,) = (
        code for code in blocks(ROOT / "docs" / "http.md", "python") if re.search(f"(import|from) {client}", code)
    )
    exec(compile(code.replace("127.0.0.1:8080", urlsplit(server).netloc), client, "exec"), {})
    made = model.explain(desk / "cat.jpg", target="tiger cat")
    assert capsys.readouterr().out.startswith(f"{made.class_name} {made.score}")
    if client != "requests":
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
    assert (desk / "out" / "index.html").exists()


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
            assert one.unset == ("off" if value is False else str(value))


def test_nothing_names_a_private_place() -> None:
    """What a reader of the project does not have is not mentioned."""
    for path in (*PAGES, *ROOT.glob("camserve/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "config.toml"):
        assert not re.search(r"/root/|/home/|/tmp/", path.read_text()), path
