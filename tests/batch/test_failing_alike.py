"""A run in which every image fails for one reason stops early, with the reason; and a quiet one says why it failed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.failing_alike import LIMIT, Alike, reason_of
from camserve.cli import main
from camserve.findings.results import Row

NOTHING = Options(outputs=())


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def broken(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.png").write_text("no picture")
    return folder


def failure(number: int, error: str = "'{}.png' is damaged at byte {}", code: str = "bad_image") -> Row:
    return {"file": f"{number}.png", "status": "failed", "error": error.format(number, number), "code": code}


def test_two_hundred_failures_alike_stop_a_run_and_it_can_go_on(model: camserve.Model, tmp_path: Path) -> None:
    folder, out = broken(tmp_path / "in", LIMIT + 20), tmp_path / "out"
    summary = run_batch(model, folder, out, NOTHING)
    assert (summary.explained, summary.failed) == (0, LIMIT)
    assert summary.stopped is not None
    assert summary.stopped.startswith(
        "stopped: the first 200 images all failed for the same reason. The last error: '0199.png'"
    )
    assert "Likely cause: the files" in summary.stopped
    assert summary.findings["sentences"][1:] == ["Nothing was checked, because there is no map."]
    assert (out / "index.html").exists()
    summary = run_batch(model, folder, out, NOTHING, resume=True, keep_going=True)
    assert (summary.failed, summary.stopped) == (LIMIT + 20, None)


def test_one_good_image_among_the_first_keeps_a_run_going(model: camserve.Model, tmp_path: Path) -> None:
    folder = broken(tmp_path / "in", LIMIT + 5)
    picture(1).save(folder / "0007.png")
    summary = run_batch(model, folder, tmp_path / "out", NOTHING)
    assert (summary.explained, summary.failed, summary.stopped) == (1, LIMIT + 4, None)


def test_reasons_are_alike_but_for_names_and_numbers() -> None:
    alike = Alike(any_good=False)
    said = [alike.add(failure(number)) for number in range(LIMIT + 1)]
    assert [place for place, words in enumerate(said) if words] == [LIMIT - 1]
    assert reason_of(failure(1)) == reason_of(failure(2))
    assert reason_of(failure(1)) != reason_of(failure(1, "'{}.png' is too large"))
    assert reason_of(failure(1)) != reason_of(failure(1, code="internal"))
    away = "cannot read '/data/{}.png': No such file"
    assert reason_of(failure(1, away)) == reason_of(failure(2, away))


@pytest.mark.parametrize("other", [{"file": "x", "status": "ok"}, failure(0, "something else")])
def test_another_end_among_the_first_keeps_a_run_going(other: Row) -> None:
    alike = Alike(any_good=False)
    rows = [failure(0), other, *map(failure, range(2 * LIMIT))]
    assert not any(alike.add(row) for row in rows)
    assert not any(map(Alike(any_good=True).add, map(failure, range(LIMIT))))


def test_the_command_says_why_and_ends_with_3(tmp_path: Path) -> None:
    folder = broken(tmp_path / "in", LIMIT + 1)
    for number, flag in enumerate(("--quiet", "--json")):
        result = run("batch", folder, tmp_path / str(number), flag, "--output", "none")
        assert result.exit_code == 3
        assert result.stderr.startswith("camserve: stopped: the first 200 images all failed for the same reason")
        assert result.stderr.count("\n") == 1
    assert json.loads(result.stdout)["stopped"] in result.stderr
    going = run("batch", folder, tmp_path / "going", "--quiet", "--keep-going", "--output", "none")
    assert (going.exit_code, "201 of 201 images failed, the first with: '0000.png'" in going.stderr) == (3, True)


def test_a_quiet_run_says_why_some_failed_and_nothing_when_all_is_well(tmp_path: Path) -> None:
    folder = broken(tmp_path / "in", 2)
    picture(1).save(folder / "good.png")
    some = run("batch", folder, tmp_path / "some", "--quiet", "--output", "none")
    assert some.exit_code == 1
    assert some.stderr.startswith("camserve: 2 of 3 images failed, the first with: '0000.png'")
    assert some.stderr.endswith(f"All reasons are in {tmp_path / 'some' / 'results.jsonl'}\n")
    for number in range(2):
        (folder / f"{number:04}.png").unlink()
    well = run("batch", folder, tmp_path / "well", "--quiet", "--output", "none")
    assert (well.exit_code, well.output) == (0, "")


def test_a_comparison_whose_images_all_fail_ends_with_the_reason(tmp_path: Path) -> None:
    folder = broken(tmp_path / "in", LIMIT)
    models = ("efficientnet-lite0", "efficientnet-lite0")
    result = run("compare", *models, "--images", folder, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 3
    assert "camserve: efficientnet-lite0: stopped: the first 200 images all failed for the same reason" in result.stderr
