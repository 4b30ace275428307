"""OUT of `camserve compare`: whole by itself, looked at by keyboard, and never written over by another comparison."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import picture
from page_driving import watched
from test_findings import blob, row

from camserve.cli import main

NAMES = "abcd"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def made(folder: Path, answers: dict[str, int], classes: int = 3) -> Path:
    """A run of pictures of cats, by the class that each was answered with."""
    folder.mkdir()
    rows = []
    for number, (name, index) in enumerate(answers.items()):
        each = {**row(index, blob(2 + 2 * index, 2), name=name, expected=0), "sha256": "same"}
        files = {"overlay": f"overlays/{name}.png", "thumbnail": f"thumbnails/{name}.png"}
        each["explanations"][0] |= {"method": "cam", "files": files}
        for path in files.values():
            (folder / path).parent.mkdir(exist_ok=True)
            picture(10 * classes + number, (60, 40)).save(folder / path)
        rows.append(each)
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    model = {"name": f"net-{classes}", "weights_sha256": "ab" * 32, "classes": classes}
    (folder / "run.json").write_text(json.dumps({"count": len(rows), "facts": {"model": model}}))
    return folder


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return made(tmp_path / "a", dict.fromkeys(NAMES, 0))


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return made(tmp_path / "b", {"a": 0, "b": 1, "c": 2, "d": 0}, classes=4)


@pytest.fixture
def out(a: Path, b: Path, tmp_path: Path) -> Path:
    assert run("compare", a, b, "-o", tmp_path / "out").exit_code == 1
    return tmp_path / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_classes_and_models_are_named(a: Path, b: Path, out: Path) -> None:
    said = run("compare", a, b, "-o", out).stdout
    assert "NOT PASSED  decisions changed: 2 of 4 (0.5), at most 0.05" in said
    assert "NOT PASSED  accuracy lost: 2 of 4 (0.5), at most 0.01" in said
    assert "map overlap, mean: 1 over 2 maps, at least 0.5" in said
    words = "A has 3 classes, B 4: decisions are compared by class name."
    assert words in said
    assert f"A: {a}: net-3, weights abababababab, 3 classes, begun " in said
    page, facts = (out / "index.html").read_text(), json.loads((out / "comparison.json").read_text())
    for text in (words, "2 of 4 (0.5)", "net-4, weights abababababab, 4 classes, begun "):
        assert text in page
    assert (facts["checks"][0]["images"], facts["checks"][0]["of"]) == (2, 4)
    assert (facts["runs"]["b"]["classes"], facts["folders"]["b"]) == (4, str(b))


@pytest.mark.parametrize("width", [1280, 390])
def test_moved_without_the_runs_it_is_whole_and_pictures_enlarge_by_keyboard(
    browser: Any, a: Path, b: Path, out: Path, tmp_path: Path, width: int
) -> None:
    moved = out.rename(tmp_path / "elsewhere")
    for folder in (a, b):
        shutil.rmtree(folder)
    with watched(browser, width, 844) as page:
        page.goto(f"file://{moved}/index.html")
        page.evaluate("for (const one of document.images) one.loading = 'eager'")
        page.wait_for_function("document.images.length === 8 && [...document.images].every(i => i.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        links, dialog = page.locator("article a"), page.locator("dialog")
        links.nth(0).focus()
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement") == links.nth(2).evaluate("one => one")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
        page.keyboard.down("Enter")
        page.keyboard.down("Enter")  # held
        page.keyboard.up("Enter")
        assert dialog.is_visible()
        assert [image.get_attribute("src") for image in dialog.locator("img").all()] == [
            f"file://{moved}/pictures/{side}/001-overlay.png" for side in "ab"
        ]
        assert "decision changed" in dialog.inner_text()
        page.keyboard.press("ArrowRight")
        assert page.locator("#place").inner_text() == "3 of 4"
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        page.wait_for_function("document.activeElement === document.querySelectorAll('article a')[4]")
        page.keyboard.press("Space")
        assert dialog.is_visible()


def test_another_comparison_is_refused_and_the_same_is_made_again(a: Path, b: Path, out: Path) -> None:
    before = files(out)
    refused = run("compare", b, a, "-o", out)
    assert refused.exit_code == 2
    assert f"'{out}' holds an earlier comparison of '{a}' and '{b}'. Give -o another" in refused.stderr
    assert files(out) == before
    again = run("compare", a, b, "-o", out, "--changed", "1", "--accuracy", "1")
    assert again.exit_code == 0
    assert json.loads((out / "comparison.json").read_text())["passed"]
    shutil.rmtree(b)
    made(b, dict.fromkeys(NAMES, 0), classes=5)
    refused = run("compare", a, b, "-o", out)
    assert (refused.exit_code, "holds an earlier comparison of" in refused.stderr) == (2, True)
    assert run("compare", a, b, "-o", out, "--restart").exit_code == 0


def test_nothing_of_an_earlier_comparison_stays(a: Path, b: Path, out: Path, tmp_path: Path) -> None:
    (out / "pictures" / "mine.txt").write_text("of somebody's own")
    one = made(tmp_path / "one", {"a": 1}, classes=6)
    for folder in (out, tmp_path / "fresh"):
        assert run("compare", a, one, "-o", folder, "--restart").exit_code == 1
    assert files(out).keys() - files(tmp_path / "fresh").keys() == {"pictures/mine.txt"}
    assert len(list((out / "pictures").rglob("*.png"))) == 4


def test_a_run_s_folder_and_somebody_s_page_are_no_place_for_a_comparison(a: Path, b: Path, tmp_path: Path) -> None:
    before = files(a)
    for more in ((), ("--restart",)):
        refused = run("compare", a, b, "-o", a, *more)
        assert (refused.exit_code, "holds a run of `camserve batch`" in refused.stderr) == (2, True)
    assert files(a) == before
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    refused = run("compare", a, b, "-o", tmp_path / "site")
    assert (refused.exit_code, "was not written by `camserve compare`" in refused.stderr) == (2, True)
    assert (tmp_path / "site" / "index.html").read_text() == "mine"


def test_a_picture_that_is_gone_is_said(a: Path, b: Path, tmp_path: Path) -> None:
    shutil.rmtree(b / "thumbnails")
    run("compare", a, b, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_text().count("no picture") == 4
