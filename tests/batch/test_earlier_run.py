"""A run in OUT is never overwritten by another, and nothing of it stays beside a new one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.earlier_run import remove_run
from camserve.batch.preflight import check_run
from camserve.batch.progress import Silent
from camserve.cli import main
from camserve.errors import OptionError, OutputError
from camserve.findings.results import Ledger, Row

PICTURES = Options(outputs=("overlay", "map"))


class Said(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def folder_of(path: Path, names: tuple[str, ...]) -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        picture(number).save(path / name)
    return path


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", ("a.png", "b.png"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "other", ("c.png",))


@pytest.fixture
def out(model: camserve.Model, photos: Path, tmp_path: Path) -> Path:
    """A finished run of the photographs."""
    run_batch(model, photos, tmp_path / "out", PICTURES, exports=("csv",))
    return tmp_path / "out"


def test_another_run_is_refused_with_what_there_is_and_what_to_write(
    model: camserve.Model, photos: Path, other: Path, out: Path
) -> None:
    before = {path: (out / path).read_bytes() for path in files(out)}
    with pytest.raises(OptionError) as refused:
        run_batch(model, other, out, PICTURES)
    said = str(refused.value)
    assert f"holds a finished run of another kind, 2 of 2 images of '{photos}' by efficientnet-lite0, begun " in said
    assert f"the source was '{photos}', is '{other}'" in said
    assert "Give another OUT, or --restart, which removes the files of that run" in said
    with pytest.raises(OptionError, match=r"options.outputs was \['overlay', 'map'\], is \['mask'\]"):
        run_batch(model, photos, out, Options(outputs=("mask",)))
    assert {path: (out / path).read_bytes() for path in files(out)} == before


def test_restart_leaves_nothing_of_the_run_before_and_all_that_is_another_s(
    model: camserve.Model, other: Path, out: Path, tmp_path: Path
) -> None:
    for mine in ("notes.txt", "overlays/mine.txt"):
        (out / mine).write_text("of somebody's own")
    run_batch(model, other, out, Options(outputs=("map",)), restart=True)
    run_batch(model, other, tmp_path / "fresh", Options(outputs=("map",)))
    assert files(out) == files(tmp_path / "fresh") | {"notes.txt", "overlays/mine.txt"}
    assert not (out / "thumbnails").exists()


def test_a_restart_that_cannot_begin_takes_nothing_away(model: camserve.Model, out: Path, tmp_path: Path) -> None:
    before = files(out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="no images"):
        run_batch(model, tmp_path / "empty", out, PICTURES, restart=True)
    assert files(out) == before


class Killed(Silent):
    """Ends the process's work at the first row, as if it were killed."""

    def advance(self, row: Row) -> None:
        raise MemoryError


def test_what_a_killed_run_wrote_of_images_without_a_row_goes_too(
    model: camserve.Model, photos: Path, other: Path, tmp_path: Path
) -> None:
    out, several = tmp_path / "out", Options(methods=("cam", "layercam"), targets=2, outputs=("overlay",))
    with pytest.raises(MemoryError):
        run_batch(model, photos, out, several, progress=Killed())
    late = out / "overlays" / "cam.top-2" / "b.png.jpg"
    late.write_bytes(b"its row was never written")
    with (out / "results.jsonl").open("ab") as results:
        results.write(b'{"file": "b.p')
    run_batch(model, other, out, Options(outputs=()), restart=True)
    assert files(out) == {"run.json", "inputs.jsonl", "results.jsonl", "findings.json", "index.html"}


def test_what_results_say_of_files_elsewhere_is_not_believed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    (out / "mine.txt").write_text("keep")
    with (out / "results.jsonl").open("a") as results:
        for path in ("../precious.txt", "maps/../../precious.txt", str(tmp_path / "precious.txt"), "mine.txt"):
            results.write(json.dumps({"file": "x", "explanations": [{"files": {"map": path}}]}) + "\n")
    remove_run(out)
    assert (tmp_path / "precious.txt").exists()
    assert files(out) == {"run.json", "inputs.jsonl", "results.jsonl", "mine.txt"}


def test_a_run_that_is_going_on_is_not_removed(out: Path) -> None:
    before = files(out)
    with Ledger(out), pytest.raises(OutputError, match="is being written by another run"):
        remove_run(out)
    assert files(out) == before


def test_a_finished_run_says_so_and_does_nothing(model: camserve.Model, photos: Path, out: Path) -> None:
    before = {path: (out / path).stat().st_mtime_ns for path in files(out)}
    said = Said()
    summary = run_batch(model, f"{photos}/", out, PICTURES, progress=said)
    assert (summary.explained, summary.failed) == (2, 0)
    assert said.lines == [f"'{out}' is finished: 2 of 2 images. --restart explains them again"]
    assert {path: (out / path).stat().st_mtime_ns for path in files(out)} == before
    run_batch(model, photos, out, PICTURES, exports=("csv",))
    assert (out / "results.csv").stat().st_mtime_ns > before["results.csv"]


def test_images_added_since_are_never_passed_over_in_silence(model: camserve.Model, photos: Path, out: Path) -> None:
    picture(9).save(photos / "new.png")
    (photos / "a.png").unlink()
    with pytest.raises(
        OptionError, match="but the images there have changed: 1 new, 1 gone. Give another OUT, or --restart"
    ):
        run_batch(model, photos, out, PICTURES)
    said = Said()
    assert run_batch(model, photos, out, PICTURES, resume=True, progress=said).explained == 2
    assert "1 new, 1 gone; --restart explains all of them again" in said.lines[0]
    for path in photos.iterdir():
        path.unlink()
    assert run_batch(model, photos, out, PICTURES, resume=True, exports=("csv",)).explained == 2


def test_findings_are_made_where_a_kill_left_none(model: camserve.Model, photos: Path, out: Path) -> None:
    (out / "index.html").unlink()
    run_batch(model, photos, out, PICTURES)
    assert (out / "index.html").exists()


def test_results_without_their_plan_are_not_overwritten(model: camserve.Model, other: Path, out: Path) -> None:
    (out / "run.json").unlink()
    with pytest.raises(OptionError, match="holds results.jsonl of a run, but not its run.json"):
        run_batch(model, other, out, PICTURES)
    run_batch(model, other, out, PICTURES, restart=True)
    assert "overlays/a.png.jpg" not in files(out)


def test_the_command_says_it_in_one_line(photos: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("batch", photos, out).exit_code == 0
    refused = run("batch", other, out)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "another kind" in refused.stderr
    again = run("batch", photos, out)
    assert (again.exit_code, "is finished: 2 of 2 images" in again.stderr) == (0, True)
    assert run("batch", other, out, "--restart").exit_code == 0
    assert "overlays/a.png.jpg" not in files(out)


def test_what_out_holds_is_seen_without_torch(photos: Path, other: Path, out: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from camserve.batch.earlier_run import check_out\n"
        "from camserve.errors import OptionError\n"
        "try: check_out(Path(sys.argv[1]), sys.argv[2], resume=False)\n"
        "except OptionError: assert 'torch' not in sys.modules\n"
        "else: sys.exit('not refused')"
    )
    subprocess.run([sys.executable, "-c", code, str(out), str(other)], check=True, env=dict(os.environ))


def test_the_images_folder_is_no_place_for_the_results(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    with pytest.raises(OptionError, match="is also the folder of the images: give another OUT"):
        check_run(str(tmp_path), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_pages_of_something_else_are_not_written_over(
    model: camserve.Model, photos: Path, other: Path, out: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("mine")
    with pytest.raises(OptionError, match=r"holds 'index.html', but no run. Give another OUT"):
        check_run(str(photos), site)
    assert (site / "index.html").read_text() == "mine"
    assert run("compare", out, out, "-o", tmp_path / "compared").exit_code == 0
    for restart in (False, True):
        with pytest.raises(OptionError, match="holds the results of `camserve compare`: give another OUT"):
            check_run(str(photos), tmp_path / "compared", restart=restart)
    for name in ("evaluation.html", "evaluation.json", "evaluation.csv", "evaluation.svg", "evaluation.pdf"):
        (out / name).write_text("of the run before")
    run_batch(model, other, out, PICTURES, restart=True)
    assert not list(out.glob("evaluation.*"))
