"""What has the name of a file that is to be written, and is none, stays what it is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import make_socket

from camserve.cli import main
from camserve.errors import OutputError
from camserve.system.files import write_all, write_whole, writing


def _link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _stream(path: Path) -> None:
    with writing(path) as file:
        file.write(b"new")


KINDS: dict[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "folder": Path.mkdir,
    "link": _link,
}
WRITERS: dict[str, Callable[[Path], Any]] = {
    "whole": lambda path: write_whole(path, b"new"),
    "several": lambda path: write_all(path.parent, {"first": b"new", path.name: b"new"}),
    "stream": _stream,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str, writer: str) -> None:
    target = tmp_path / "out"
    KINDS[kind](target)
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=f"cannot write '.*out': it is a {kind.replace('link', 'pipe')} and no file"):
        WRITERS[writer](target)
    assert {path.name: path.lstat() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_is_replaced_and_so_is_a_link_to_one(tmp_path: Path, writer: str) -> None:
    other, target = tmp_path / "other", tmp_path / "out"
    other.write_bytes(b"old")
    target.symlink_to(other)
    for _ in range(2):
        WRITERS[writer](target)
        assert (target.read_bytes(), other.read_bytes(), target.is_symlink()) == (b"new", b"old", False)


def test_an_export_says_so_before_the_model_is_loaded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = CliRunner().invoke(main, ["export", "efficientnet-lite0", str(tmp_path / "pipe")])
    assert (result.exit_code, "it is a pipe and no file" in result.stderr) == (4, True), result.output
    assert (tmp_path / "pipe").is_fifo()
