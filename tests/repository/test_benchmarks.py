"""The benchmarks run, what they count is right, and their page says what was measured."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx, nn

import camserve

FOLDER = Path(camserve.__file__).parent.parent / "benchmarks"
PARTS = [
    "cost", "peers", "service", "folders", "neighbour", "memory", "growth", "methods", "startup", "batching", "crowd",
    "pairs", "shared_out", "choices",
]  # fmt: skip


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks import each other as programs in one folder do; their settings of torch end with the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What a smoke run of everything wrote: JSON, and the page."""
    out = tmp_path_factory.mktemp("benchmarks") / "results"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("CAMSERVE_")}
    surroundings |= {"CAMSERVE_MODELS_FOLDERS": "", "OMP_NUM_THREADS": "1"}
    engine = "openvino" if find_spec("openvino") else "torch"  # one of them is enough for a smoke run
    command = [sys.executable, str(FOLDER / "run.py"), "--quick", "--engines", engine, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.with_suffix(".json").read_text()), out.with_suffix(".md").read_text()


def tables(results: tuple[dict[str, Any], str], part: str) -> list[dict[str, Any]]:
    """The tables of a part; skips where it was left out, and says why."""
    found = results[0]["parts"][part]
    if "skipped" in found:
        assert f"Left out: {found['skipped']}." in results[1]
        pytest.skip(found["skipped"])
    return list(found["results"]["tables"])


@pytest.mark.large
def test_one_command_measures_everything_and_says_on_what(results: tuple[dict[str, Any], str]) -> None:
    found, page = results
    assert found["versions"]["camserve"] == camserve.__version__
    assert found["machine"]["cores granted"] >= 1
    assert found["quick"]
    assert "smoke run" in page
    assert list(found["parts"]) == PARTS
    assert re.findall("^## (.*)", page, re.MULTILINE)[1:] == PARTS


@pytest.mark.large
@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_tables_and_they_are_on_the_page(part: str, results: tuple[dict[str, Any], str]) -> None:
    for table in tables(results, part):
        assert table["rows"]
        assert f"### {table['title']}" in results[1]
    aims = results[0]["parts"][part]["results"]["aims"]
    assert all(f"| {aim['what']} | " in results[1] for aim in aims)


@pytest.mark.large
def test_cost_is_relative_to_the_forward_pass(results: tuple[dict[str, Any], str]) -> None:
    rows = tables(results, "cost")[0]["rows"]
    assert rows[0]["what"] == "forward alone"
    assert rows[0]["x forward"] == 1
    assert all(0 < row["quartiles ms"][0] <= row["median ms"] <= row["quartiles ms"][1] for row in rows)


@pytest.mark.large
def test_forwards_are_counted(results: tuple[dict[str, Any], str]) -> None:
    rows = {row["method"]: row for row in tables(results, "methods")[0]["rows"]}
    assert rows["cam"]["camserve: forwards"] == 1
    guided = rows["guidedgradcam"]
    if not str(guided["camserve: time"]).startswith("over"):  # given up on a machine with much else to do
        assert guided["camserve: forwards"] == 2  # the prediction, and the guided pass
    assert rows["sscam"]["camserve: time"] == "over 0.5 s: 35 K forward passes"
    if find_spec("torchcam"):
        assert rows["cam"]["torchcam: forwards"] == 1
        assert rows["sscam"]["torchcam: time"].startswith("not begun")


@pytest.mark.large
def test_the_service_answers_wrk(results: tuple[dict[str, Any], str]) -> None:
    found = tables(results, "service")
    assert [table["title"] for table in found] == ["image/jpeg, 4 clients", "image/png, 4 clients"]
    assert all(row["answers a second"] > 0 and row["p99 ms"] >= row["p50 ms"] for t in found for row in t["rows"])


@pytest.mark.large
def test_a_larger_photograph_needs_more_memory(results: tuple[dict[str, Any], str]) -> None:
    _, large = tables(results, "memory")[0]["rows"]
    assert 3 <= large["peak over idle, MB"] < 600  # at least the pixels of its million


def test_an_unknown_part_is_named() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--only", "a,speed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no part 'speed'; there are a or cost" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What batches of two dozen images found, one of them killed: JSON, and the page."""
    out = tmp_path_factory.mktemp("scale") / "results"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("CAMSERVE_")}
    surroundings |= {"CAMSERVE_COMPUTE_ENGINE": "torch", "OMP_NUM_THREADS": "1"}
    asked = ["--images", "24", "--kills", "1", "--only", "stages,run,kills,report,passes", "--out", str(out)]
    command = [sys.executable, str(FOLDER / "batch_at_scale.py"), *asked]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.with_suffix(".json").read_text()), out.with_suffix(".md").read_text()


@pytest.mark.large
def test_batches_at_scale_are_watched_killed_and_looked_at(scale: tuple[dict[str, Any], str]) -> None:
    found, page = scale
    assert list(found["parts"]) == ["stages", "run", "kills", "report", "passes"]
    about, speed, resident, sizes = tables(scale, "run")
    assert about["rows"][0]["images a second"] > 0
    assert len(speed["rows"][0]) == 10
    assert 50 < resident["rows"][0]["at 50 %"] <= resident["rows"][0]["peak"]
    assert {"images", "overlays", "results.jsonl"} <= {row["what"] for row in sizes["rows"]}
    assert "| files that differ after 1 kills | 0 | at most 0 | yes |" in page


@pytest.mark.large
def test_the_stages_of_an_image_add_up_to_the_whole(scale: tuple[dict[str, Any], str]) -> None:
    rows = tables(scale, "stages")[0]["rows"]
    *parts, whole = (row["share"] for row in rows if not row["stage"].startswith("of that"))
    assert rows[-1]["stage"] == "all of it, as the batch does it"
    assert whole == 1
    assert 0.5 < sum(parts) < 2


@pytest.mark.large
def test_passes_are_timed_over_ten_times_the_rows(scale: tuple[dict[str, Any], str]) -> None:
    table, *pages = tables(scale, "passes")
    assert table["title"] == "240 rows"
    assert all(row["µs an image"] > 0 for row in table["rows"])
    assert all(page["title"].startswith("index.html of 240 images") for page in pages)  # none without a Chromium


@pytest.mark.large
def test_the_page_of_a_batch_is_timed(scale: tuple[dict[str, Any], str]) -> None:
    rows = {row["what"]: row for row in tables(scale, "report")[0]["rows"]}
    assert {"first rows", "filter by class", "sort by score", "scroll"} <= set(rows)
    assert all(0 < row["median ms"] <= row["slowest ms"] for row in rows.values())


def test_a_batch_is_watched_until_it_is_killed(tmp_path: Path) -> None:
    from watching import watch

    writes = "import sys, time\nfor n in range(500): print(n, file=open(sys.argv[1], 'a')); time.sleep(0.01)"
    seen = watch([sys.executable, "-c", writes, str(tmp_path / "results.jsonl")], tmp_path, {}, until=5)
    assert seen.status == -9
    assert 5 <= seen.looks[-1].rows < 500
    assert seen.when(5) < seen.seconds


def test_folders_that_differ_are_told_apart(tmp_path: Path) -> None:
    from batch_runs import differences

    for name, content in (("one", b"x"), ("other", b"y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_bytes(b"same")
        (tmp_path / name / "changed").write_bytes(content)
    (tmp_path / "one" / "lost").touch()
    assert differences(tmp_path / "one", tmp_path / "other") == ["changed", "lost"]


def test_varied_images_are_the_same_each_time_and_some_are_broken(tmp_path: Path) -> None:
    from varied import write_varied

    broken = {write_varied(tmp_path / name, 100, None) for name in ("one", "other")}
    files = {name: [p.read_bytes() for p in sorted((tmp_path / name).rglob("*.jpg"))] for name in ("one", "other")}
    assert files["one"] == files["other"]
    assert len(set(files["one"])) > 90
    assert broken == {sum(not file.endswith(b"\xff\xd9") for file in files["one"])}
    assert 0 < broken.pop() < 10


def test_checkouts_that_differ_in_one_bit_are_told_apart() -> None:
    from frozen import differences

    values = np.array([0.0, 1.0, np.nan], np.float32)
    old = {"map": values, "facts": [{"a": 0.1, "b": None}], "png": b"same", "odd": float("nan")}
    assert list(differences(old, {**old, "map": values.copy()})) == []
    changed = np.nextafter(values, 2)
    found = list(differences(old, {**old, "map": changed, "facts": [{"b": None, "a": 0.1}], "png": b"sane"}))
    assert [where.partition(":")[0] for where in found] == [".facts[0]", ".map", ".png"]
    assert list(differences(old, {**old, "facts": [{"a": -0.0, "b": 0}]})) != []
    assert list(differences({"a": 0.0}, {"a": -0.0})) == [".a: 0.0 / -0.0"]
    assert list(differences({"a": 1}, {"a": True, "b": 1})) == [".a: int 1 / bool True", ".b: only in NEW"]


def test_works_take_turns_in_orders_that_differ() -> None:
    from measuring import Seconds, interleaved

    order: list[str] = []

    def work(name: str) -> Seconds:
        order.append(name)
        return Seconds(ord(name))

    works = {name: partial(work, name) for name in "abc"}
    samples = interleaved(works, 29, warmups=1)
    rounds = ["".join(order[first : first + 3]) for first in range(0, 90, 3)]
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) == 6  # a work comes after each other one
    assert samples == {"a": [97.0] * 29, "b": [98.0] * 29, "c": [99.0] * 29}


def test_ratios_are_taken_pair_by_pair() -> None:
    """A machine that becomes ten times slower in the middle changes medians, not the ratio."""
    from measuring import ratio, rows, spread

    base, mine = [1.0, 1.0, 10.0, 10.0, 10.0], [2.0, 2.0, 20.0, 20.0, 20.0]
    assert ratio(mine, base) == 2
    assert ratio([2.0, 20.0], [1.0, 2.0]) == 6
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (2, 3, 4)
    assert spread([7.0]) == (7, 7, 7)
    (first, second) = rows({"a": base, "b": mine}, "a")
    assert second == {
        "what": "b", "median ms": 20_000, "quartiles ms": [2000, 20_000], "repeats": 5, "x forward": 2
    }  # fmt: skip
    assert first["x forward"] == 1


def test_cells_and_aims_read_well() -> None:
    from measuring import Aim
    from page import cell

    assert [cell(v) for v in (0.012345, 1.0, 34.56, 1234.5, 7, True, None)] == [
        "0.0123", "1.00", "34.6", "1,234", "7", "yes", ""
    ]  # fmt: skip
    assert cell([1.5, 1.0, 2.0]) == "1.50 (1.00 to 2.00)"
    assert cell([1.0, 2.0]) == "1.00 to 2.00"
    assert cell(float("nan")) == "nan"
    assert Aim("x", 1.05, 1.05).reached
    assert not Aim("x", 6.9, 7, at_least=True).reached


def test_images_are_counted_in_every_way_of_running_a_graph() -> None:
    from methods import counted

    graph = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    images = torch.zeros(2, 3, 5, 5)
    with counted() as count:
        graph(images)
        fx.Interpreter(graph).run(images)
    assert count.images == 4
    graph(images)
    assert count.images == 4  # over with the block
    network = nn.Conv2d(3, 4, 1)
    with counted(network) as own:
        graph(images)
        network(images)
    assert own.images == 2


def scaled(found: np.ndarray) -> np.ndarray:
    """Positive part, then 0 to 1, as some of them give it."""
    positive = found.clip(0)
    return (positive - positive.min()) / (positive.max() - positive.min())


def test_other_libraries_give_the_map_that_camserve_gives(model: camserve.Model) -> None:
    from methods import input_of
    from others import FASTEST, attached

    pixels = input_of(model)
    activations, _, logits = model.layer().observe(pixels)
    best = int(logits.argmax())
    ours = scaled(model.layer().head.class_maps(activations)[0, best].numpy())
    for other in FASTEST:
        maps = attached(other, model)
        if maps is None or other.library == "pytorch-grad-cam":  # that one gives it resized to the input
            continue
        np.testing.assert_allclose(scaled(maps(pixels, [best])[0]), ours, atol=1e-3)
