"""A batch goes on past whatever lies among its images: nothing is lost, and nothing hangs."""

import json
import os
import re
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_socket, picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.progress import Silent
from camserve.datasets.inputs import find_items
from camserve.datasets.left_out import LeftOut
from camserve.datasets.remote import inside_of, without_password
from camserve.errors import ImageError, OptionError
from camserve.findings.results import Row
from camserve.system.files import open_file

NOTHING = Options(outputs=())
LONG = "d" * 250


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Ends a test that waits for a pipe, which nobody writes into."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for ever"))
    signal.alarm(60)
    yield
    signal.alarm(0)


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # another /dev/null
    except PermissionError:
        path.symlink_to(os.devnull)


def _closed(path: Path) -> None:
    path.mkdir()
    (path / "unseen.png").write_bytes(b"")
    path.chmod(0)


def _deep(path: Path) -> None:
    """Folders below each other until no path leads to the last; it holds an image, and so does the one before."""
    path.mkdir()
    at = os.open(path, os.O_RDONLY)
    for place in range(17):
        if place == 8:  # a path of 2,000 bytes and more
            with open("mid.png", "wb", opener=lambda name, flags, at=at: os.open(name, flags, dir_fd=at)) as file:  # type: ignore[misc]
                picture(9).save(file, "png")
        os.mkdir(LONG, dir_fd=at)
        below = os.open(LONG, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


# What lies among the images: name, what makes it, and of a row what its error says; of what is left out its reason.
ODD: list[tuple[str, Callable[[Path], Any], str]] = [
    ("pipe.png", os.mkfifo, "it is a pipe and no file"),
    ("socket.png", make_socket, "it is a socket and no file"),
    ("device.png", _device, "it is a device and no file"),
    ("zero.png", lambda path: path.symlink_to("/dev/zero"), "it is a device and no file"),
    ("itself.png", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ("lost.png", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ("memory.png", lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
    ("empty.png", Path.touch, "is empty"),
    ("cut.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "cannot be decoded"),
    ("deep", _deep, "File name too long"),
    ("closed", _closed, "Permission denied|is empty"),  # the second where root may read it all the same
    ("pipe", os.mkfifo, "entries that are neither files nor folders"),
    ("nowhere.txt", lambda path: path.symlink_to("nowhere"), "links that lead nowhere"),
    (".hidden.png", os.mkfifo, "hidden files"),
    ("up", lambda path: path.symlink_to(path.parent), "links to folders that are looked at already"),
]
GOOD = ("a.png", "folder.png/b.png", "n\newline.png")


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A folder with three good images and one of each of ODD."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, make, _ in ODD:
        make(folder / name)
    (folder / "folder.png").mkdir()
    for number, name in enumerate(GOOD):
        picture(number).save(folder / name)
    yield folder
    (folder / "closed").chmod(0o700)
    shutil.rmtree(folder)  # pytest's own does not reach so deep


def rows_of(out: Path) -> dict[str, Row]:
    return {row["file"]: row for row in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


def failed(rows: dict[str, Row], name: str) -> list[str]:
    """The errors of an entry, or of what lies in it."""
    own = (row for file, row in rows.items() if file == name or file.startswith(f"{name}/"))
    return [row["error"] for row in own if row["status"] == "failed"]


def test_every_entry_is_a_row_or_counted(model: camserve.Model, odd: Path, tmp_path: Path) -> None:
    summary = run_batch(model, odd, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    good = {file for file, row in rows.items() if row["status"] == "ok"}
    assert good > set(GOOD) and [file[-7:] for file in good - set(GOOD)] == ["mid.png"]
    left_out = {one["reason"]: one["examples"] for one in summary.left_out}
    for name, _, said in ODD:
        errors = failed(rows, name)
        assert [name] == left_out.get(said) if not errors else re.search(said, errors[0]), (name, errors)
    assert summary.failed == sum(row["status"] == "failed" for row in rows.values()) == 11
    assert summary.ignored == 3  # the link to the folder is no file
    assert (tmp_path / "out" / "index.html").exists() and not list((tmp_path / "out").rglob("*.part"))


def test_a_pattern_finds_what_the_folder_holds(odd: Path, tmp_path: Path) -> None:
    found = []
    for source in (str(odd), f"{odd}/**/*", f"{odd}/**/**/*.png"):
        left_out = LeftOut()
        items = [item for item in find_items(source, tmp_path / "out", left_out=left_out) if item is not None]
        found.append(sorted(item.name for item in items))
        assert len(set(found[-1])) == len(found[-1])
    assert found[0] == found[1] == found[2]


def test_a_list_may_name_all_of_it(model: camserve.Model, odd: Path, tmp_path: Path) -> None:
    named = [name for name, _, _ in ODD if name != "deep"]
    lines = [
        *named,
        f"file://{odd}/pipe.png",
        "s3://[::x",
        "folder.png",
        "x" * 300,
        "y/" * 3000 + "z.png",
        "a.png",
        str(odd),
    ]
    (odd / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    summary = run_batch(model, odd / "list.txt", tmp_path / "out", NOTHING)
    rows = rows_of(tmp_path / "out")
    assert (summary.explained, len(rows)) == (1, len(lines))
    for name in ("pipe.png", "pipe", ".hidden.png", f"file://{odd}/pipe.png"):
        assert "it is a pipe and no file" in rows[name]["error"]
    for name in ("up", "closed", str(odd)):
        assert re.search("it is a folder and no file|Permission denied", rows[name]["error"])
    for line in lines[-4:-2]:
        assert "File name too long" in rows[line]["error"]


def test_python_says_so_at_once(model: camserve.Model, odd: Path) -> None:
    for name, _, said in ODD[:9]:
        with pytest.raises(ImageError, match=said):
            model.explain(odd / name)


class Changing(Silent):
    """Makes something else of files as soon as the first row is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def advance(self, row: Row) -> None:
        for name, make in {"x.png": os.mkfifo, "y.png": Path.mkdir, "z.png": lambda _: None}.items():
            if (self.folder / name).is_file():
                (self.folder / name).unlink()
                make(self.folder / name)


def test_files_that_change_while_the_run_is_going(model: camserve.Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate("abcdefghxyz"):
        picture(number).save(tmp_path / "in" / f"{name}.png")
    summary = run_batch(model, tmp_path / "in", tmp_path / "out", NOTHING, progress=Changing(tmp_path / "in"))
    assert (summary.explained, summary.failed) == (8, 3)
    rows = rows_of(tmp_path / "out")
    said = [rows[name]["error"] for name in ("x.png", "y.png", "z.png")]
    assert ["pipe" in said[0], "folder" in said[1], "No such file" in said[2]] == [True] * 3


def test_a_path_that_changes_between_looking_and_opening(tmp_path: Path) -> None:
    """A file and a pipe take turns under one name, as fast as they can."""
    (tmp_path / "file").write_bytes(b"all of it")
    os.mkfifo(tmp_path / "pipe")
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for name in ("file", "pipe"):
                (tmp_path / "next").hardlink_to(tmp_path / name)
                (tmp_path / "next").replace(tmp_path / "it")
                (tmp_path / "next").unlink(missing_ok=True)  # a name for what "it" is already stays

    swapping = threading.Thread(target=swap)
    (tmp_path / "it").hardlink_to(tmp_path / "file")
    swapping.start()
    outcomes = set()
    for _ in range(2000):
        try:
            with open_file(tmp_path / "it") as file:
                outcomes.add(file.read())
        except OSError as error:
            outcomes.add(error.strerror.encode())
    ended.set()
    swapping.join()
    assert outcomes <= {b"all of it", b"it is a pipe and no file"}


def test_what_is_known_of_images_is_no_pipe_either(model: camserve.Model, odd: Path, tmp_path: Path) -> None:
    os.mkfifo(odd / "list.txt")
    os.mkfifo(odd / "boxes.csv")
    with pytest.raises(OptionError, match="is neither a file nor a folder"):
        run_batch(model, odd / "list.txt", tmp_path / "out")
    with pytest.raises(OptionError, match="is neither a .csv table of boxes nor a folder of masks"):
        run_batch(model, odd, tmp_path / "out", objects=odd / "boxes.csv")
    (tmp_path / "one").mkdir()
    for name in ("one/pipe.png", "one/a.png"):
        picture(1).save(tmp_path / name)
    summary = run_batch(model, tmp_path / "one", tmp_path / "out", NOTHING, objects=odd)  # pipe.png is no mask
    assert (summary.explained, summary.failed) == (2, 0)


def test_a_tree_that_is_deeper_than_functions_may_call_each_other(tmp_path: Path) -> None:
    folders = [tmp_path / "in"]
    for _ in range(600):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    picture(1).save(folders[-1] / "a.png")
    for source in (str(folders[0]), f"{folders[0]}/**/*.png"):
        (item,) = find_items(source, tmp_path / "out")
        assert item is not None
        assert (item.path, item.name[:6], item.name[-6:]) == (str(folders[-1] / "a.png"), "=deep/", "/a.png")
    (folders[-1] / "a.png").unlink()
    for folder in reversed(folders):  # shutil.rmtree would not reach it
        folder.rmdir()


def test_a_uri_that_is_none_has_a_name_and_no_password() -> None:
    for given in ("s3://[::x", "s3://[key:secret@x"):
        assert "secret" not in without_password(given) + inside_of(given)
