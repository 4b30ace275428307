"""Wherever the disk is full, it is said in words, with status 4, and nothing is half written."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import picture

import camserve.model
from camserve.batch import Options, run_batch
from camserve.batch import plan as planning
from camserve.batch.plan import make_plan
from camserve.cli import main
from camserve.datasets.inputs import Item
from camserve.datasets.scratch import scratch
from camserve.errors import OptionError, OutputError
from camserve.findings.exports import export
from camserve.findings.results import Ledger
from camserve.system.files import write_all, writing


@contextmanager
def files_of(size: int) -> Iterator[None]:
    """No file may have more bytes: the system refuses what is written beyond, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def run(model: camserve.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, beside its images."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "in").mkdir()
    for number in range(3):
        picture(number).save(folder / "in" / f"{number}.png")
    run_batch(model, folder / "in", folder / "out", Options(outputs=("boxes",)))
    return folder


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _stream(folder: Path) -> None:
    with writing(folder / "a") as file:
        file.writelines([b"x" * 3000] * 100)


def _rows(folder: Path) -> None:
    with Ledger(folder) as ledger:
        while True:
            ledger.append({"file": "x" * 1000})


WRITERS: dict[str, Callable[[Path], Any]] = {
    "files": lambda folder: write_all(folder, {"a": b"x" * 10, "b": [b"x" * 5000]}),
    "a stream": _stream,
    "csv": lambda folder: export(folder, "csv", ()),
    "coco": lambda folder: export(folder, "coco", ["a class"] * 1000),
    "parquet": lambda folder: export(folder, "parquet", ()),
}


@pytest.mark.parametrize("what", WRITERS)
def test_nothing_is_left_of_what_could_not_be_written(run: Path, what: str) -> None:
    before = files(run)
    with files_of(1000), pytest.raises(OutputError, match="cannot write"):
        WRITERS[what](run / "out")
    assert files(run) == before


def test_whole_rows_stay(tmp_path: Path) -> None:
    with files_of(3500), pytest.raises(OutputError, match="cannot write"):
        _rows(tmp_path)
    assert (tmp_path / "results.jsonl").stat().st_size == 3 * len(b'{"file": "%s"}\n' % (b"x" * 1000))


@pytest.mark.parametrize("count", [1, 3000])
def test_a_plan_that_cannot_be_written_is_none(
    model: camserve.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """It ends in a piece, or while pieces are put together."""
    monkeypatch.setattr(planning, "_PIECE", 100)
    items = [Item(f"{number:05}" + "x" * 300, "y") for number in range(count)]
    with files_of(300 if count == 1 else 100_000), pytest.raises(OutputError, match="cannot write"):
        make_plan(items, tmp_path / "out", "x", model, {})
    assert list((tmp_path / "out").iterdir()) == []


def test_pages_comparisons_and_explanations_end_with_status_4(
    model: camserve.Model, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camserve.model, "load", lambda *_, **__: model)  # else the network is converted once more
    out = str(run / "out")
    (run / "out" / "index.html").unlink()
    lines = (
        ["batch", str(run / "in"), out, "--output", "boxes"],
        ["batch", str(run / "in"), out, "--output", "boxes", "--export", "csv"],
        ["compare", out, out, "-o", str(tmp_path / "compared")],
        ["explain", str(run / "in" / "0.png"), str(run / "in" / "1.png"), "-o", str(tmp_path / "explained")],
    )
    for line in lines:
        with files_of(900):
            result = CliRunner().invoke(main, line)
        assert (result.exit_code, result.stderr.count("cannot write")) == (4, 1), (line, result.output)
        assert not list(run.rglob("*.part")) and not files(tmp_path)


def test_a_file_to_copy_that_is_gone_is_not_blamed_on_where_it_goes(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read '.*weights.pth': No such file"):
        write_all(tmp_path / "out", {"weights.pth": tmp_path / "weights.pth"})
    assert list((tmp_path / "out").iterdir()) == []


def test_no_room_for_what_does_not_fit_into_memory(tmp_path: Path) -> None:
    with (
        files_of(10_000),
        pytest.raises(OutputError, match="in the folder for temporary files"),
        scratch("a (b)") as kept,
    ):
        for number in range(3000):
            kept.execute("INSERT INTO a VALUES (?)", (f"{number}" * 1000,))


def test_an_output_nobody_can_write_to_is_status_4() -> None:
    for arguments in (["methods"], ["methods", "--json"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "camserve", *arguments]
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (ended.returncode, ended.stderr.count("\n")) == (4, 1)
        assert "cannot write the output: No space left on device" in ended.stderr
