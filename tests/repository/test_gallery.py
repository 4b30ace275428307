"""docs/gallery.md shows what its commands make."""

import io
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import program
from PIL import Image

import camserve

DOCS = Path(camserve.__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    """docs/gallery.py."""
    return program(DOCS / "gallery.py")


def timeless(said: str) -> str:
    return re.sub(r"\d+(\.\d+)? m?s\b", "TIME", said)


def test_every_picture_and_every_word_is_what_its_command_makes(gallery: ModuleType) -> None:
    """Some ten explanations."""
    several = gallery.entries()
    assert len(several) == PAGE.count("```bash")
    assert {entry.picture for entry in several} == {path.name for path in DOCS.glob("gallery-*.jpg")}
    for entry, said, shown in gallery.made(several):
        assert entry.said is None or timeless(said) == timeless(entry.said), entry.command
        with Image.open(io.BytesIO(shown)) as now, Image.open(DOCS / entry.picture) as kept:
            assert now.size == kept.size
            assert np.abs(np.asarray(now, int) - np.asarray(kept, int)).mean() < 2, entry.picture


PAGE = (DOCS / "gallery.md").read_text()


def test_failures_say_so() -> None:
    """Where a map means little, a note of camserve's stands below the command; only two are for the reader to see."""
    failures = re.findall(r"^### .*?(?=^###|\Z)", PAGE.partition("## Failures")[2], re.DOTALL | re.MULTILINE)
    assert len(failures) == 6
    assert ["  note: " in one for one in failures].count(True) == 5
