"""Nothing is lost: after SIGKILL, a full disk or Ctrl-C a run goes on exactly where it was."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.progress import Silent
from camserve.catalogue.options import ExplainOptions
from camserve.errors import OptionError, OutputError
from camserve.findings.results import Ledger, Row

COUNT = 40
LITTLE = Options(outputs=("map",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures, two of them broken."""
    folder = tmp_path_factory.mktemp("in")
    for number in range(COUNT):
        picture(number, (300, 200)).save(folder / f"{number:02}.png")
    for number in (5, 33):
        (folder / f"{number:02}.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def undisturbed(model: camserve.Model, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run_batch(model, folder, out, LITTLE)
    return out


def contents(out: Path) -> dict[str, bytes]:
    """Every file below OUT but those that say when or where."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "camserve", "batch", str(folder), str(out), "--output", "map", *more]


def rows_in(out: Path) -> int:
    results = out / "results.jsonl"
    return results.read_bytes().count(b"\n") if results.exists() else 0


def start(folder: Path, out: Path, rows: int, *more: str) -> "subprocess.Popen[bytes]":
    """A run that has just written so many rows."""
    running = subprocess.Popen(
        command(folder, out, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # jobs that a shell puts into the background ignore Ctrl-C, and so would whatever they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while rows_in(out) < rows and running.poll() is None:
        time.sleep(0.002)
    assert running.poll() is None, "it ended before it could be disturbed"
    return running


def test_a_run_killed_twice_ends_as_if_it_had_not_been(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for rows, more in ((3, ()), (17, ("--resume",))):
        running = start(folder, out, rows, *more)
        running.kill()
        running.wait()
        assert rows <= rows_in(out) < COUNT
    (out / "maps" / "09.png.0123abcd.part").write_bytes(b"what a kill leaves")
    with (out / "results.jsonl").open("ab") as results:
        results.write(b'{"file": "18.p')
    ended = subprocess.run(command(folder, out, "--resume", "--json"), capture_output=True, check=False)
    assert ended.returncode == 1  # two are broken
    said = json.loads(ended.stdout)
    answers, findings = said.pop("answers"), said.pop("findings")
    assert answers["surest"]
    assert findings["sentences"] == json.loads((out / "findings.json").read_text())["sentences"]
    assert answers["unknown"] == COUNT - 2  # those of before the kills are counted, too
    assert said == {
        "explained": COUNT - 2, "failed": 2, "ignored": 0, "interrupted": False, "left_out": [], "notes": [],
        "stopped": None,
    }  # fmt: skip
    assert contents(out) == contents(undisturbed)


def test_ctrl_c_ends_with_130_and_a_page_and_can_be_resumed(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(folder, out, 4)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert (out / "index.html").exists()
    assert not list(out.rglob("*.part"))
    assert subprocess.run(command(folder, out, "--resume", "--quiet"), check=False).returncode == 1
    assert contents(out) == contents(undisturbed)


def test_a_file_that_may_not_grow_is_a_clean_stop(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    """The limit is the system's, so that results.jsonl meets it in the middle of a row."""
    out = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7000, 7000))

    ended = subprocess.run(command(folder, out), capture_output=True, text=True, preexec_fn=limit, check=False)
    assert ended.returncode == 4
    assert ended.stderr.splitlines()[-1].startswith("camserve: cannot write")
    assert "Traceback" not in ended.stderr
    assert 0 < (out / "results.jsonl").stat().st_size < 7000
    assert (out / "results.jsonl").read_bytes().endswith(b"}\n")
    assert subprocess.run(command(folder, out, "--resume", "--quiet"), check=False).returncode == 1
    assert contents(out) == contents(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where one may be mounted. Skips where not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("mounts a tmpfs: needs Linux and its mount command")
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        # Lazily: what a failed test still holds open would keep the mount, and pytest could not delete its folder.
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_a_clean_stop_and_room_is_all_it_needs(
    model: camserve.Model, folder: Path, small_disk: Path, tmp_path: Path
) -> None:
    out, pictures = small_disk / "out", Options(image_format="png")
    with pytest.raises(OutputError, match="No space left on device"):
        run_batch(model, folder, out, pictures)
    done = rows_in(out)
    assert 0 < done < COUNT
    assert not list(out.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    summary = run_batch(model, folder, out, pictures, resume=True)
    assert (summary.explained, summary.failed) == (COUNT - 2, 2)
    run_batch(model, folder, tmp_path / "whole", pictures)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.fixture
def unfinished(folder: Path, undisturbed: Path, tmp_path: Path) -> Path:
    """A run after four rows."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("run.json", "inputs.jsonl"):
        (out / name).write_bytes((undisturbed / name).read_bytes())
    lines = (undisturbed / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join(lines[:4]))
    return out


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(model: camserve.Model, folder: Path, unfinished: Path) -> None:
    with pytest.raises(OptionError, match="unfinished run, 4 of 40 images: --resume continues it, --restart starts"):
        run_batch(model, folder, unfinished, LITTLE)
    assert rows_in(unfinished) == 4
    assert run_batch(model, folder, unfinished, LITTLE, restart=True).explained == COUNT - 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(outputs=("map",), methods=("layercam",)), "options.methods was \\['auto'\\], is \\['layercam'\\]"),
        (Options(outputs=("mask",)), "options.outputs was \\['map'\\], is \\['mask'\\]"),
        (Options(outputs=("map",), how=ExplainOptions(size=112)), "options.size was None, is 112"),
    ],
)
def test_resuming_with_other_options_is_refused(
    model: camserve.Model, folder: Path, unfinished: Path, options: Options, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        run_batch(model, folder, unfinished, options, resume=True)


def test_resuming_with_another_model_or_source_is_refused(
    model: camserve.Model, folder: Path, unfinished: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="the source was"):
        run_batch(model, tmp_path, unfinished, LITTLE, resume=True)
    run = json.loads((unfinished / "run.json").read_text())
    run["facts"]["model"]["weights_sha256"] = "of other weights"
    (unfinished / "run.json").write_text(json.dumps(run))
    with pytest.raises(OptionError, match=r"model.weights_sha256 was 'of other weights', is '[0-9a-f]{64}'"):
        run_batch(model, folder, unfinished, LITTLE, resume=True)


def test_rows_of_another_run_are_not_continued(model: camserve.Model, folder: Path, unfinished: Path) -> None:
    results = unfinished / "results.jsonl"
    results.write_bytes(results.read_bytes().replace(b'"name": "02.png"', b'"name": "xx.png"'))
    with pytest.raises(OptionError, match="is of another run: it has 'xx.png' in place of '02.png'"):
        run_batch(model, folder, unfinished, LITTLE, resume=True)


def test_resuming_what_is_finished_changes_nothing(model: camserve.Model, folder: Path, undisturbed: Path) -> None:
    before = contents(undisturbed)
    assert run_batch(model, folder, undisturbed, LITTLE, resume=True).explained == COUNT - 2
    assert contents(undisturbed) == before


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(OutputError, match="is being written by another run"):
        Ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.append({"file": "a"})
    assert (tmp_path / "results.jsonl").stat().st_size == len('{"file": "a"}\n')


class Stop(Silent):
    """Ctrl-C at the first row."""

    def advance(self, row: Row) -> None:
        raise KeyboardInterrupt


def test_shards_are_joined_as_docs_scale_says(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    lines = sorted(f"{path}\n" for path in folder.iterdir())
    (tmp_path / "all.txt").write_text("".join(lines))
    run_batch(model, tmp_path / "all.txt", tmp_path / "whole", LITTLE)
    for number in range(3):
        (tmp_path / f"shard-{number}.txt").write_text("".join(lines[number * 15 : (number + 1) * 15]))
        run_batch(model, tmp_path / f"shard-{number}.txt", tmp_path / f"out-{number}", LITTLE)
    assert run_batch(model, tmp_path / "all.txt", tmp_path / "out", LITTLE, progress=Stop()).interrupted
    joining = "cat out-*/results.jsonl > out/results.jsonl && cp -rlf out-*/maps out/"
    subprocess.run(joining, shell=True, cwd=tmp_path, check=True)
    summary = run_batch(model, tmp_path / "all.txt", tmp_path / "out", LITTLE, resume=True)
    assert (summary.explained, summary.failed) == (COUNT - 2, 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    mixed = "cat out-1/results.jsonl out-0/results.jsonl out-2/results.jsonl > out/results.jsonl"
    subprocess.run(mixed, shell=True, cwd=tmp_path, check=True)
    with pytest.raises(OptionError, match="is of another run"):
        run_batch(model, tmp_path / "all.txt", tmp_path / "out", LITTLE, resume=True)
