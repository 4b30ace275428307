"""What docs/concepts.md shows is what happens: its commands and its Python print what stands there, and draw that.

`python tests/repository/test_concepts.py` writes what they print, and the pictures, into the page.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"
# A block of Python and, where it prints, what it printed; or commands, each followed by what it printed.
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?|^```console\n(?P<console>.*?)^```\n",
    re.DOTALL | re.MULTILINE,
)
COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NUMBER = re.compile(r"\d+\.\d+")
WIDTH = "100"


def printed(code: str, names: dict[str, object]) -> str:
    """What a block of Python prints."""
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(code, PAGE.name, "exec"), names)
    return said.getvalue()


def output(command: str) -> str:
    """What a command prints, without the blanks at the ends of lines."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": WIDTH, "OMP_NUM_THREADS": "1"}
    line = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    return re.sub(r" +$", "", done.stdout, flags=re.MULTILINE)


def alike(said: str, expected: str) -> bool:
    """The same words and whole numbers; numbers with a point to 1 %, or two in the last digit."""
    if NUMBER.sub("#", said).split() != NUMBER.sub("#", expected).split():
        return False
    pairs = zip(NUMBER.findall(said), NUMBER.findall(expected), strict=True)
    return all(abs(float(a) - float(b)) <= tolerance(b) for a, b in pairs)


def tolerance(number: str) -> float:
    last_digit = 10.0 ** -len(number.partition(".")[2])
    return max(0.01 * float(number), 2.01 * last_digit)


@pytest.fixture
def desk(tmp_path: Path, cat: Path) -> Iterator[Path]:
    """A folder with cat.png, as the page assumes it."""
    shutil.copy(cat, tmp_path / "cat.png")
    with chdir(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    ("said", "expected", "same"),
    [("a 1.00 b", "a 1.01 b", True), ("0.451", "0.454", True), ("0.44", "0.47", False), ("7 cells", "8 cells", False),
     ("12.53 G", "12.60 G", True), ("12.53 M", "12.53 G", False), ("1.0 2.0", "1.0", False)],
)  # fmt: skip
def test_numbers_may_differ_a_little_and_words_not_at_all(said: str, expected: str, same: bool) -> None:
    assert alike(said, expected) == same


def test_every_block_prints_and_draws_what_the_page_shows(desk: Path) -> None:
    names: dict[str, object] = {}
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["code"]:
            said = printed(block["code"], names)
            assert alike(said, block["said"] or ""), f"{block['code']}\nprints\n{said}"
    drawn = sorted(path.name for path in desk.glob("*.jpg"))
    assert drawn == sorted(re.findall(r"\]\((concepts-\w+\.jpg)\)", PAGE.read_text()))
    for name in drawn:
        ours, shown = (np.asarray(Image.open(folder / name), np.float32) for folder in (desk, PAGE.parent))
        assert ours.shape == shown.shape
        assert abs(ours - shown).mean() < 2, f"{name} is not what the page draws"


COMMANDS = [
    (line, said)
    for block in BLOCK.finditer(PAGE.read_text())
    if block["console"]
    for line, said in COMMAND.findall(block["console"])
]


@pytest.mark.parametrize(("line", "said"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_every_command_prints_what_the_page_shows(line: str, said: str, desk: Path) -> None:
    if shutil.which("camserve", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("camserve is not installed as a command; pip install -e .")
    now = output(line)
    assert said.strip()
    assert alike(now, said), f"{line}\nprints\n{now}"


def rewrite() -> None:
    """Run the page and put what it prints and draws where it stands."""
    names: dict[str, object] = {}

    def renewed(block: re.Match[str]) -> str:
        if block["console"]:
            lines = COMMAND.findall(block["console"])
            return "```console\n" + "".join(f"$ {line}\n{output(line)}" for line, _ in lines) + "```\n"
        said = printed(block["code"], names)
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{said}```\n" if said else "")

    found = find_spec("skimage")
    assert found is not None and found.submodule_search_locations is not None
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        shutil.copy(Path(found.submodule_search_locations[0]) / "data" / "chelsea.png", "cat.png")
        PAGE.write_text(BLOCK.sub(renewed, PAGE.read_text()))
        for path in Path().glob("concepts-*.jpg"):
            shutil.copy(path, PAGE.parent)


if __name__ == "__main__":
    rewrite()
