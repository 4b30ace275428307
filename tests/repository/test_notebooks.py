"""The notebooks of docs/ run from beginning to end, and show what they are kept with."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import program

import camserve

DOCS = Path(camserve.__file__).parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """docs/run_notebooks.py."""
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason=f"notebooks are run by {package}")
    return program(DOCS / "run_notebooks.py")


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return found


def test_there_is_one_for_each_first_question() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "calling-the-service", "comparing-methods", "first-explanation", "folder-and-findings", "your-own-checkpoint"
    ]  # fmt: skip


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_is_kept(path: Path) -> None:
    command = [sys.executable, str(DOCS / "run_notebooks.py"), "--check", path.stem]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-3000:]}\nrun python docs/run_notebooks.py {path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_are_there_and_small(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    outputs = [output for cell in cells(path) for output in cell.get("outputs", ())]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)
    assert any(output["output_type"] == "stream" for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
    targets = [part.split(")")[0].split("#")[0] for part in text.split("](")[1:]]
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_another_word_or_a_lost_picture_is_noticed_and_another_number_is_not(runner: ModuleType) -> None:
    import nbformat

    kept = nbformat.read(NOTEBOOKS[2], as_version=4)
    said = runner.words(kept)
    printed = next(o for cell in kept.cells for o in cell.get("outputs", ()) if o.output_type == "stream")
    printed.text = printed.text.replace("0.38", "0.37")
    assert runner.words(kept) == said
    printed.text = printed.text.replace("Egyptian cat", "tabby")
    assert runner.words(kept) != said
    again = nbformat.read(NOTEBOOKS[2], as_version=4)
    shown = next(o for cell in again.cells for o in cell.get("outputs", ()) if "image/jpeg" in o.get("data", {}))
    del shown.data["image/jpeg"]
    assert runner.words(again) != said
