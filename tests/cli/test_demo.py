"""`camserve demo`: the photographs that come with camserve, a page, and a browser if there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from camserve.cli import main
from camserve.config import shipped
from camserve.findings.results import read_rows


@pytest.fixture
def screenless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("screenless")
def test_it_explains_what_comes_with_camserve_and_says_so_in_three_lines(tmp_path: Path) -> None:
    out = tmp_path / "look"
    result = CliRunner().invoke(main, ["demo", "-o", str(out)])
    assert result.exit_code == 0, result.output
    found, page, further = result.output.splitlines()
    photographs = sorted(path.name for path in shipped("photos").glob("*.jpg"))
    assert found.startswith(
        f"efficientnet-lite0 explained {len(photographs)} photographs: espresso 0.95 (coffee.jpg), "
    )
    assert page == f"page: {out / 'index.html'}"
    assert further == "next: camserve explain YOUR-PHOTOGRAPH.jpg"
    assert (out / "index.html").read_text().startswith("<!doctype html>")
    assert sorted(row["file"] for row in read_rows(out)) == photographs
    assert len(list((out / "overlays").iterdir())) == len(photographs)
    written = (out / "results.jsonl").stat().st_mtime_ns
    again = CliRunner().invoke(main, ["demo", "-o", str(out)])
    assert (again.exit_code, again.output) == (0, result.output)
    assert (out / "results.jsonl").stat().st_mtime_ns == written


@pytest.mark.skipif(sys.platform == "win32", reason="the browser of this test is a shell script")
def test_a_browser_is_opened_unless_nobody_wants_one(tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    browser.chmod(0o755)
    for more in (["--no-browser"], []):
        assert not opened.exists()
        subprocess.run(
            [sys.executable, "-m", "camserve", "demo", "-o", str(tmp_path / "out"), *more],
            env={**os.environ, "BROWSER": str(browser)},
            cwd=tmp_path,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert opened.read_text() == f"{(tmp_path / 'out' / 'index.html').as_uri()}\n"


@pytest.mark.usefixtures("screenless")
def test_another_run_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    first = CliRunner().invoke(main, ["batch", str(shipped("photos")), str(mine), "--signed", "--quiet"])
    assert first.exit_code == 0, first.output
    kept = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["demo", "-o", str(mine)])
    assert result.exit_code == 2, result.output
    assert kept == {path: path.read_bytes() for path in mine.rglob("*") if path.is_file() and path in kept}
