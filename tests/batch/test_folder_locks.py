"""Two runs never have one OUT at once, whatever their flags are, and nobody compares what is being written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import picture

import camserve.model
from camserve.batch import Options, run_batch
from camserve.batch.progress import Silent
from camserve.cli import main
from camserve.errors import OptionError, OutputError
from camserve.findings.results import Row
from camserve.system.folder_lock import check_free, reading_from, writing_into

NOTHING = Options(outputs=())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture(number).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


class Second(Silent):
    """Begins a second run into the same folder at each row of the first."""

    def __init__(self, model: camserve.Model, photos: Path, out: Path) -> None:
        self.how, self.refused = (model, photos, out, NOTHING), 0

    def advance(self, row: Row) -> None:
        for more in ({}, {"resume": True}, {"restart": True}):
            with pytest.raises(OutputError, match="is being written by another run"):
                run_batch(*self.how, **more)  # type: ignore[arg-type]
            self.refused += 1


def test_a_second_run_is_refused_and_the_first_does_not_notice(
    model: camserve.Model, photos: Path, tmp_path: Path
) -> None:
    second = Second(model, photos, tmp_path / "out")
    assert run_batch(model, photos, tmp_path / "out", NOTHING, progress=second).explained == 3
    assert second.refused == 9
    assert run_batch(model, photos, tmp_path / "out", NOTHING, restart=True).explained == 3


@pytest.mark.parametrize("flag", ["", "--resume", "--restart"])
def test_the_command_says_so_before_it_loads_a_model(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setattr(camserve.model, "load", lambda *_, **__: pytest.fail("a model is loaded"))
    with writing_into(tmp_path / "out"):
        result = CliRunner().invoke(main, ["batch", str(photos), str(tmp_path / "out"), *flag.split()])
    assert (result.exit_code, "is being written by another run" in result.stderr) == (4, True)


def test_what_is_being_written_is_not_compared(model: camserve.Model, photos: Path, tmp_path: Path) -> None:
    out, compare = tmp_path / "out", ["compare", str(tmp_path / "out"), str(tmp_path / "out"), "-o", str(tmp_path)]
    run_batch(model, photos, out, NOTHING)
    with writing_into(out):
        result = CliRunner().invoke(main, compare)
    assert (result.exit_code, "is being written by a run; wait" in result.stderr) == (2, True)
    with reading_from(out), reading_from(out):
        assert CliRunner().invoke(main, compare).exit_code == 0
        with pytest.raises(OutputError, match="or read by `camserve compare`"):
            run_batch(model, photos, out, NOTHING, restart=True)


class Stop(Silent):
    """Ctrl-C at the first row."""

    def advance(self, row: Row) -> None:
        raise KeyboardInterrupt


def test_an_unfinished_run_says_so_wherever_it_is_shown(model: camserve.Model, photos: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    run_batch(model, photos, whole, NOTHING)
    assert run_batch(model, photos, part, NOTHING, progress=Stop()).interrupted
    said = "Unfinished: 2 images are not explained yet; --resume continues."
    assert said in (part / "index.html").read_text() and said not in (whole / "index.html").read_text()
    result = CliRunner().invoke(main, ["compare", str(whole), str(part), "-o", str(tmp_path)])
    assert "B is unfinished: 2 images were not explained yet" in result.stdout
    assert "A is unfinished" not in result.stdout
    assert "B is unfinished: 2 images" in (tmp_path / "index.html").read_text()


def test_lines_that_are_no_rows_are_refused_in_words(model: camserve.Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_batch(model, photos, out, NOTHING)
    good = (out / "results.jsonl").read_bytes()
    for line in (b'{"file": "x"}', b"[]", b"7", b'{"status": "ok", "file": "x"}', b'{"status": []}', b"\xff", b""):
        (out / "results.jsonl").write_bytes(good + line + b"\n")
        result = CliRunner().invoke(main, ["compare", str(out), str(out), "-o", str(tmp_path)])
        assert (result.exit_code, "line 4 is not a result" in result.stderr) == (2, True), line


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from camserve.system.folder_lock import writing_into\n"
        "with writing_into(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"mine\n"
        with pytest.raises(OutputError):
            check_free(tmp_path)
        with pytest.raises(OptionError), reading_from(tmp_path):
            pass
        holding.send_signal(signal.SIGKILL)
    check_free(tmp_path)
    with writing_into(tmp_path):
        assert list(tmp_path.iterdir()) == []
