"""Make the pictures of gallery.md, and what its commands print, again: `python docs/gallery.py`.

A command stands in a block of bash; the block of text after it, where there is one, is what it prints; the picture
after that is the sheet, or else the overlay, that it writes.
"""

import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner
from PIL import Image

from camserve.cli import main as program

PAGE = Path(__file__).parent / "gallery.md"
PHOTOS = PAGE.parent.parent / "photos"
ENTRY = re.compile(
    r"```bash\n(?P<command>.*?)\n```\n\n(?:```text\n(?P<said>.*?)```\n\n)?!\[.*?\]\((?P<picture>.*?)\)", re.DOTALL
)
WIDEST = {"sheet.jpg": 1200, "overlay.png": 640}


class Entry(NamedTuple):
    """One command of the page, what it is said to print, and what its picture is called."""

    command: str
    said: str | None
    picture: str


def entries() -> list[Entry]:
    """Those of the page, in order."""
    return [Entry(*found.group("command", "said", "picture")) for found in ENTRY.finditer(PAGE.read_text())]


def made(several: list[Entry]) -> Iterator[tuple[Entry, str, bytes]]:
    """Each entry with what its command prints and the JPEG of its picture, whatever is set on this machine."""
    unset = dict.fromkeys(
        name for name in os.environ if name.startswith("CAMSERVE_") and name != "CAMSERVE_COMPUTE_CACHE"
    )
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PHOTOS, Path(folder) / "photos")
        os.chdir(folder)
        try:
            for entry in several:
                words = shlex.split(entry.command)[1:]
                result = CliRunner(env=unset).invoke(program, words, catch_exceptions=False)
                if result.exit_code:
                    raise SystemExit(f"{entry.command} ended with {result.exit_code}: {result.output}")
                yield entry, result.output, picture(Path(words[words.index("-o") + 1]))
        finally:
            os.chdir(before)


def picture(out: Path) -> bytes:
    """The sheet of a folder of results, else its overlay, made smaller."""
    (found,) = list(out.rglob("sheet.jpg")) or list(out.rglob("overlay.png"))
    with Image.open(found) as opened:
        opened.thumbnail((WIDEST[found.name],) * 2)
        held = io.BytesIO()
        opened.convert("RGB").save(held, "JPEG", quality=85)
    return held.getvalue()


def main() -> None:
    """Writes the page and its pictures."""
    text = PAGE.read_text()
    for entry, said, shown in made(entries()):
        (PAGE.parent / entry.picture).write_bytes(shown)
        if entry.said is not None:
            text = text.replace(
                f"{entry.command}\n```\n\n```text\n{entry.said}", f"{entry.command}\n```\n\n```text\n{said}"
            )
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
