"""One run against another: exact on rows made by hand, and the gate that a shortcut does not pass."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import picture
from planted import LABELS, trained, write_pictures
from test_findings import blob, row, scattered

import camserve
from camserve.batch import run_batch
from camserve.cli import main
from camserve.errors import OptionError
from camserve.findings.map_distance import Distribution, move, rank_correlation
from camserve.findings.run_comparison import Difference, Limits, checks, compare_runs


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def results(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A run of these rows, sorted by name as a run's are."""
    folder.mkdir()
    for each in rows:
        for one in each.get("explanations", ()):
            one.update(method="cam", files={})
    whole = ({"sha256": "same", **each} for each in sorted(rows, key=lambda each: str(each["file"])))
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in whole))
    return folder


def test_a_map_that_moved_by_hand() -> None:
    first, second = row(0, blob(2, 2)), row(0, blob(4, 2))
    moved = move(first["explanations"][0], second["explanations"][0])
    assert moved.overlap == 8 / 24
    assert moved.shift == pytest.approx(2 / 16 / np.sqrt(2))
    # 16 of 256 cells are 1, eight of them in both: Pearson of two indicators, which ranks do not change
    p = 16 / 256
    assert moved.correlation == pytest.approx((8 / 256 - p * p) / (p * (1 - p)))


def test_rank_correlation_sees_order_only_and_ties_share_their_rank() -> None:
    values = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)) == 1
    assert rank_correlation(values, np.zeros((16, 16), np.float32)) == 0
    # by hand: ranks 1.5 1.5 3 4 and 1 2 3.5 3.5
    one, other = np.array([[0, 0, 1, 2]], np.float32), np.array([[0, 1, 2, 2]], np.float32)
    assert rank_correlation(one, other) == pytest.approx((1 * 1.5 + 1 * 0.5 + 0.5 * 1 + 1.5 * 1) / 4.5)


def test_the_median_is_within_a_thousandth() -> None:
    numbers = np.random.default_rng(0).uniform(-1, 1, 501)
    spread = Distribution(-1)
    for number in numbers:
        spread.add(number)
    assert spread.mean == pytest.approx(numbers.mean())
    assert spread.median == pytest.approx(np.median(numbers), abs=2 / 1000)
    assert (Distribution(0).mean, Distribution(0).median) == (None, None)


def test_rows_are_paired_by_name_and_everything_is_counted(tmp_path: Path) -> None:
    failed = {"file": "f", "status": "failed", "error": "broken", "code": "bad_image"}
    before = [row(0, blob(2, 2), name=name, expected=0) for name in "abcdf"]
    after = [
        row(0, blob(2, 2), name="a", expected=0),
        row(1, blob(2, 2), name="b", expected=0),
        {**row(0, blob(9, 9), name="c", expected=0), "sha256": "other"},
        row(0, blob(2, 2), name="e"),
        failed,
    ]
    made = compare_runs(results(tmp_path / "a", before), results(tmp_path / "b", after))
    assert (made.both, made.only_a, made.only_b, made.other_image) == (4, 1, 1, 1)
    assert (made.changed, made.failed, made.recovered, made.compared) == (1, 1, 0, 2)
    assert (made.known, made.right_a, made.right_b) == (3, 3, 2)
    assert made.overlap.mean == 0.5
    assert [case["file"] for case in made.worst] == ["b", "c", "a"]
    assert (made.worst[0]["changed"], made.worst[0]["move"]) == (True, None)


def test_each_limit_can_fail_alone() -> None:
    good = Difference(both=100, known=100, right_a=90, right_b=90, compared=100)
    for spread in (good.overlap, good.correlation):
        spread.add(1)
    good.shift.add(0)
    assert all(check.passed for check in checks(good, Limits()))
    strict = Limits(changed=-1, overlap=1.1, correlation=1.1, shift=-1, accuracy=-1, failed=-1, shortcuts=-1)
    assert not any(check.passed for check in checks(good, strict))
    for name in ("changed", "overlap", "correlation", "shift", "accuracy", "failed", "shortcuts"):
        one = checks(good, Limits(**{name: getattr(strict, name)}))
        assert [check.passed for check in one].count(False) == 1, name


@pytest.mark.parametrize("name", ["changed", "overlap", "correlation", "shift", "accuracy", "failed"])
def test_a_limit_that_nothing_can_break_is_refused(name: str, tmp_path: Path) -> None:
    value = {"overlap": -0.1, "correlation": -1.1}.get(name, 5)
    result = run("compare", tmp_path / "a", tmp_path / "b", f"--{name}", str(value), "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"{name} = {value:g}: nothing can break this limit. It is a share, such as 0.05 for 5 %" in result.stderr


def test_runs_without_a_common_image_are_refused(tmp_path: Path) -> None:
    a, b = (
        results(tmp_path / "a", [row(0, blob(2, 2), name="a")]),
        results(tmp_path / "b", [row(0, blob(2, 2), name="b")]),
    )
    with pytest.raises(OptionError, match="no image in common"):
        compare_runs(a, b)
    result = run("compare", tmp_path / "a", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds no results of `camserve batch`" in result.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three networks over the same marked pictures: the one in use, one trained anew, one that took the shortcut."""
    root = tmp_path_factory.mktemp("runs")
    images = write_pictures(root / "in", 10, marked=True)
    networks = {"now": trained(misled=False), "anew": trained(misled=False, seed=1), "misled": trained(misled=True)}
    for name, network in networks.items():
        model = camserve.load(network, labels=LABELS, size=64, mean=(128,) * 3, std=(64,) * 3)
        run_batch(model, images, root / name, folders_are_classes=True)
    return {name: root / name for name in networks}


def test_the_gate_passes_a_network_that_looks_at_the_object(runs: dict[str, Path], tmp_path: Path) -> None:
    result = run("compare", runs["now"], runs["anew"], "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "NOT PASSED" not in result.output


def test_the_gate_stops_a_network_that_takes_a_shortcut_although_it_answers_right(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    result = run("compare", runs["now"], runs["misled"], "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    verdict = {check["name"]: check["passed"] for check in facts["checks"]}
    assert verdict["decisions changed"]
    assert verdict["accuracy lost"]
    assert not verdict["new confirmed shortcuts"]
    assert facts["shortcuts"][0].startswith("'marked' at the top right: hot in ")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == facts
    # what moved most are the marked pictures, side by side on a page that has copies of them
    assert {case["file"].split("/")[0] for case in facts["worst"][:10]} == {"marked"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Not passed" in page
    for side, name in (("a", "now"), ("b", "misled")):
        shown, (case, *_) = f"pictures/{side}/000-thumbnail.jpg", facts["worst"]
        original = runs[name] / f"thumbnails/auto.predicted/{case['file']}.jpg"
        assert (tmp_path / "out" / shown).read_bytes() == original.read_bytes()
        assert f'src="{shown}"' in page


@pytest.fixture
def suspected(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs, the second with a suspicion about cats at the top right."""
    others, before = scattered(1, 40, seed=1), scattered(0, 10, seed=2)
    after = [row(0, blob(12, 0)) for _ in before]
    for each in (others, before, after):
        for number, one in enumerate(each):
            one["file"] = f"{one['predicted']['class_name']}{number:02}"
    return results(tmp_path / "a", [*others, *before]), results(tmp_path / "b", [*others, *after])


def say_tested(run: Path, covered: float | None) -> None:
    """Write what the run's test of its suspicion says."""
    covering = {"images": 8, "before": 0.57, "covered": covered, "elsewhere": 0.58, "worse": 8}
    listed = [{"class": "cat", "place": "top right", "covering": covering if covered is not None else None}]
    (run / "findings.json").write_text(json.dumps({"shortcuts": listed}))


def verdict_of(a: Path, b: Path) -> tuple[bool, int, int]:
    """Whether the gate lets shortcuts pass, and how many are confirmed and only suspected."""
    made = compare_runs(a, b)
    passed = {check.name: check.passed for check in checks(made, Limits())}
    return passed["new confirmed shortcuts"], len(made.shortcuts), len(made.suspected)


def test_only_a_confirmed_shortcut_stops_at_the_gate(suspected: tuple[Path, Path]) -> None:
    a, b = suspected
    assert verdict_of(a, b) == (True, 0, 1)  # nobody tested it
    for covered, verdict in ((0.1, (False, 1, 0)), (0.5, (True, 0, 1)), (0.55, (True, 0, 0)), (None, (True, 0, 1))):
        say_tested(b, covered)
        assert verdict_of(a, b) == verdict, covered
    say_tested(b, 0.1)
    assert verdict_of(b, b) == (True, 0, 0)  # not new


def test_what_is_only_suspected_is_said_with_the_reason(suspected: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = suspected
    say_tested(b, 0.5)
    said = run("compare", a, b, "-o", tmp_path / "out", "--overlap", "0", "--correlation", "-1", "--shift", "1")
    assert said.exit_code == 0, said.output
    words = (
        "'cat' at the top right: hot in 100% of 10 images; covering it changes the score from 0.57 to 0.50, covering "
    )
    assert f"suspected, not confirmed: {words}" in said.stdout
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<p class="shortcut quiet">Suspected, not confirmed: &#39;cat&#39; at the top right' in page
    assert "New shortcut" not in page


def test_the_gate_says_what_it_cannot_tell(tmp_path: Path) -> None:
    a, b = (results(tmp_path / name, [row(0, blob(2, 2), name=str(each)) for each in range(3)]) for name in "ab")
    said = run("compare", a, b, "-o", tmp_path / "out")
    assert said.exit_code == 0, said.output
    assert "passed      new confirmed shortcuts: cannot tell, at most 0" in said.stdout
    assert "B: Cannot tell whether the only predicted class has a shortcut: fewer than 8 images" in said.stdout
    facts = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert facts["cannot_tell"][0] in said.stdout
    (check,) = (one for one in facts["checks"] if one["name"] == "new confirmed shortcuts")
    assert (check["value"], check["passed"]) == (None, True)
    assert "blind" not in facts


def test_a_comparison_names_what_the_runs_were_made_with(runs: dict[str, Path], tmp_path: Path) -> None:
    result = run("compare", runs["now"], runs["anew"], "-o", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "comparison.json").read_text())["runs"]
    page = (tmp_path / "out" / "index.html").read_text()
    for name, folder in (("a", "now"), ("b", "anew")):
        model = json.loads((runs[folder] / "run.json").read_text())["facts"]["model"]
        assert (facts[name]["model"], facts[name]["weights"]) == (model["name"], model["weights_sha256"][:12])
        words = f"{model['name']}, weights {model['weights_sha256'][:12]}, 4 classes, begun {facts[name]['begun']}"
        assert words in page
        assert f"{name.upper()}: {runs[folder]}: {words}" in result.stdout
    assert facts["a"]["weights"] != facts["b"]["weights"]
    assert compare_runs(*(results(tmp_path / name, [row(0, blob(2, 2))]) for name in "cd")).a is None


def test_two_models_are_run_over_a_folder_and_compared(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture(number).save(tmp_path / "in" / f"{number}.png")
    same = ("compare", "efficientnet-lite0", "efficientnet-lite0", "--images", tmp_path / "in", "-o", tmp_path / "out")
    result = run(*same, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["both"], facts["changed"], facts["maps"]["overlap"]["mean"]) == (3, 0, 1)
    assert (tmp_path / "out" / "a" / "index.html").exists()


def test_options_of_models_need_images(tmp_path: Path) -> None:
    result = run("compare", tmp_path, tmp_path, "--method", "cam")
    assert result.exit_code == 2
    assert "give --images too" in result.stderr
