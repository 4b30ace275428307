"""What a folder's maps show together: exact on maps made by hand, and a shortcut planted and found."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import LABELS, trained, write_pictures

import camserve
from camserve.batch import Summary, run_batch
from camserve.batch.plan import read_plan
from camserve.batch.shortcut_test import (
    IMAGES,
    NO_IMAGE,
    NO_MIRROR,
    NO_TESTS,
    NOT_AMONG,
    TESTED,
    cover,
    painted,
    suspicions_tested,
)
from camserve.findings.answers import count_answers
from camserve.findings.covering import CANNOT_TELL, CONFIRMED, REFUTED, Covering
from camserve.findings.findings import NOT_COVERED, Findings, alike, overlap, to_dict
from camserve.findings.results import read_rows
from camserve.findings.shortcuts import find_shortcuts, lower_bound
from camserve.findings.sketch import (
    EVEN_BORDER,
    EVEN_CORNERS,
    SIDE,
    from_text,
    heat_of,
    hot_cells,
    shares,
    sketch_of,
    to_text,
)
from camserve.findings.statistics import gather, spreads
from camserve.geometry.frame import Frame, Placement

NAMES = ("cat", "dog", "owl")


def blob(left: int, top: int, side: int = 4) -> np.ndarray:
    """A sketch that is hot in a square."""
    sketch = np.zeros((SIDE, SIDE), np.float32)
    sketch[top : top + side, left : left + side] = 1
    return sketch


def row(index: int, sketch: np.ndarray, *, score: float = 0.9, expected: int | None = None, name: str = "a") -> Any:
    answer = {"class_index": index, "class_name": NAMES[index], "score": score, "logit": 1.0}
    border, corners = shares(sketch) or (None, None)
    one = {**answer, "sketch": to_text(sketch), "border": border, "corners": corners, "outside": None}
    truth = None if expected is None else {**answer, "class_index": expected, "class_name": NAMES[expected]}
    return {"file": name, "status": "ok", "predicted": answer, "expected": truth, "explanations": [one]}


def found(rows: list[Any]) -> Findings:
    every, classes = gather(rows)
    shortcuts = find_shortcuts(every, classes)
    return Findings(
        NAMES, count_answers(rows), every, classes, spreads(rows, classes), shortcuts, [NOT_COVERED] * len(shortcuts)
    )


def scattered(index: int, count: int, seed: int = 0) -> list[Any]:
    """Images of one class whose heat is anywhere."""
    random = np.random.default_rng(seed)
    return [row(index, blob(*random.integers(0, SIDE - 4, 2))) for _ in range(count)]


def test_a_sketch_is_the_map_s_mean_in_each_cell_wherever_its_cells_lie() -> None:
    grid_map = np.zeros((4, 8), np.float32)
    grid_map[0, 0], grid_map[3, 7] = 8, -4
    whole = Placement(Frame((800, 400), (0, 0, 800, 400), (64, 32)), (8, 4), (8.0, 8.0), (3.5, 3.5))
    sketch = sketch_of(grid_map, whole)
    assert sketch[0, 0] == 1
    assert sketch[-1, -1] == pytest.approx(-0.5)
    # a cell is 2 x 4 of the sketch's: bilinear between centres, so its middle has full heat, the next cell's none
    assert sketch[0:2, 0].min() == 1
    assert not sketch[:, 3:13].any()


def test_what_a_crop_left_out_is_unseen_in_a_sketch() -> None:
    crop = Placement(Frame((400, 200), (100, 0, 300, 200), (32, 32)), (4, 4), (8.0, 8.0), (3.5, 3.5))
    sketch = sketch_of(np.ones((4, 4), np.float32), crop)
    assert np.isnan(sketch[:, :4]).all()
    assert np.isnan(sketch[:, 12:]).all()
    assert (sketch[:, 4:12] == 1).all()
    assert np.array_equal(from_text(to_text(sketch)), sketch, equal_nan=True)


def test_text_keeps_a_sketch_to_a_254th() -> None:
    sketch = np.random.default_rng(0).uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    np.testing.assert_allclose(from_text(to_text(sketch)), sketch, atol=1 / 254 + 1e-6)


def test_shares_of_even_heat_and_of_a_corner() -> None:
    assert shares(np.ones((SIDE, SIDE), np.float32)) == pytest.approx((EVEN_BORDER, EVEN_CORNERS))
    assert (EVEN_BORDER, EVEN_CORNERS) == (1 - 12**2 / 16**2, 0.25)
    assert shares(blob(0, 0)) == (12 / 16, 1)
    assert shares(blob(6, 6)) == (0, 0)
    assert shares(-blob(0, 0)) is None


def test_hot_cells_reach_half_the_maximum_and_cold_maps_have_none() -> None:
    sketch = blob(2, 2)
    sketch[9, 9], sketch[9, 10] = 0.5, 0.49
    assert hot_cells(sketch).sum() == 17
    assert not hot_cells(-sketch).any()
    assert not heat_of(-sketch).any()


def test_wilson_s_bound_by_hand() -> None:
    # eight of eight: (1 + z²/16 - z sqrt(z²/256)) / (1 + z²/8) = 1 / (1 + 1.96²/8)
    assert lower_bound(np.array([1.0]), 8)[0] == pytest.approx(1 / (1 + 1.96**2 / 8))


def test_the_mean_map_and_its_shares_are_those_of_the_images() -> None:
    rows = [row(0, blob(0, 0)), row(0, blob(6, 6)), row(1, blob(6, 6)), row(0, -blob(6, 6))]
    findings = found(rows)
    cat = findings.classes[0]
    assert cat.count == 2  # one has no heat
    np.testing.assert_allclose(cat.mean, (blob(0, 0) + blob(6, 6)) / 32)
    assert (cat.border, cat.corners) == pytest.approx((0.375, 0.5))
    assert findings.every.count == 3


def test_a_place_of_one_class_is_a_shortcut_and_the_middle_of_all_is_not() -> None:
    middle = [row(1, blob(6, 6)) for _ in range(20)] + [row(2, blob(6, 6)) for _ in range(20)]
    assert found(middle).shortcuts == []
    marked = [row(0, blob(12, 0)) for _ in range(10)]
    (shortcut,) = found(middle + marked).shortcuts
    assert (shortcut.class_index, shortcut.place, shortcut.here, shortcut.elsewhere) == (0, "top right", 1, 0)
    assert np.array_equal(shortcut.cells, blob(12, 0).astype(bool))


def test_a_place_off_the_middle_in_all_classes_is_a_shortcut_of_all() -> None:
    rows = [row(index, blob(0, 12)) for index in (0, 1, 2) for _ in range(10)]
    (shortcut,) = found(rows).shortcuts
    assert (shortcut.class_index, shortcut.place, shortcut.count) == (None, "bottom left", 30)
    assert to_dict(found(rows), rows)["shortcuts"][0]["class"] is None


def test_a_suspicion_is_a_finding_only_where_covering_confirms_it() -> None:
    rows = [*scattered(1, 40), *(row(0, blob(12, 0)) for _ in range(10)), *(row(2, blob(0, 12)) for _ in range(10))]
    before = found(rows)
    assert [one.class_index for one in before.shortcuts] == [0, 2]
    refuted, confirmed = Covering(8, 0.57, 0.55, 0.58, 6), Covering(8, 0.9, 0.2, 0.9, 8)
    facts = to_dict(replace(before, tested=[refuted, confirmed]), rows)
    assert {one["class"]: one["verdict"] for one in facts["shortcuts"]} == {"cat": REFUTED, "owl": CONFIRMED}
    assert facts["shortcuts"][1]["covering"]["cost"] == pytest.approx(0.7 / 0.9)
    assert (facts["counts"]["shortcut"], facts["counts"].get("suspected shortcut")) == (10, None)
    first, *_, last = facts["sentences"]
    assert first == (
        "Shortcut: the model looks for 'owl' at the bottom left (it is hot in 100% of its 10 images, in 0% of other "
        "images), and that place decides the answer: covering it changes the score from 0.90 to 0.20, covering the "
        "same area elsewhere to 0.90."
    )
    assert last == "1 suspected shortcut was tested and refuted: 'cat' at the top right."
    assert facts["shortcuts"][0]["sentence"].startswith(
        "No shortcut: the model looks for 'cat' at the top right (it is hot in 100%"
    )


def test_a_suspicion_that_nobody_tested_is_said_to_be_one() -> None:
    rows = [*scattered(1, 40), *(row(0, blob(12, 0)) for _ in range(10))]
    facts = to_dict(found(rows), rows)
    assert (facts["shortcuts"][0]["verdict"], facts["shortcuts"][0]["covering"]) == (CANNOT_TELL, None)
    assert (facts["counts"].get("shortcut"), facts["counts"]["suspected shortcut"]) == (None, 10)
    assert facts["sentences"][-1] == (
        "Cannot tell whether this is a shortcut: the model looks for 'cat' at the top right (it is hot in 100% of its "
        "10 images, in 0% of other images); the place was not covered for a test."
    )


def test_classes_of_too_few_images_are_said_to_be_untold() -> None:
    seven = [*scattered(0, 7), *scattered(1, 20, 1), *scattered(2, 20, 2)]
    facts = to_dict(found(seven), seven)
    words = "Cannot tell whether 1 of 3 classes has a shortcut: fewer than 8 images each were explained as it."
    assert facts["few"] == 1
    assert facts["cannot_tell"] == [f"{words} Try more images."] == facts["sentences"][-1:]
    enough = [*scattered(0, 8), *scattered(1, 8, 1)]
    facts = to_dict(found(enough), enough)
    assert (facts["few"], facts["cannot_tell"]) == (0, [])
    (alone,) = to_dict(found(scattered(0, 20)), scattered(0, 20))["cannot_tell"]
    assert alone.startswith("Cannot tell whether the most frequent class has a shortcut: fewer than 8 images of other ")
    (one,) = to_dict(found(scattered(0, 2)), scattered(0, 2))["cannot_tell"]
    assert one.startswith("Cannot tell whether the only predicted class has a shortcut: fewer than 8 images were")


def coarse(one: Any, *grid: int) -> Any:
    """The row of a map of so many cells."""
    one["explanations"][0]["grid"] = list(grid)
    return one


def test_a_map_of_four_cells_says_nothing_of_places() -> None:
    marked = [row(0, blob(12, 0)) for _ in range(10)] + scattered(1, 10)
    assert len(found(marked).shortcuts) == 1
    small = [coarse(one, 2, 2) for one in marked]
    facts = to_dict(found(small), small)
    assert (facts["shortcuts"], facts["coarse"], facts["alike"], facts["outliers"]) == ([], 20, [], [])
    (told,) = facts["cannot_tell"]
    assert facts["sentences"][-1] == told
    assert told == (
        "Cannot tell where the model looks in 20 of 20 images: their maps have fewer than 4 x 4 cells. Try a larger "
        "size or an earlier layer."
    )
    assert found([coarse(row(0, blob(12, 0)), 4, 3) for _ in range(9)]).every.count == 0
    assert found([coarse(row(0, blob(12, 0)), 4, 4) for _ in range(9)]).every.count == 9


def test_few_images_and_scattered_heat_are_no_shortcut() -> None:
    assert found([row(0, blob(12, 0)) for _ in range(7)] + scattered(1, 40)).shortcuts == []
    assert found(scattered(0, 60, 1) + scattered(1, 60, 2) + scattered(2, 60, 3)).shortcuts == []


def test_an_outlier_is_unlike_its_own_class() -> None:
    random = np.random.default_rng(0)
    usual = [row(0, blob(6, 6) + random.uniform(0, 0.1, (SIDE, SIDE)).astype(np.float32)) for _ in range(30)]
    odd = row(0, blob(0, 0), name="odd")
    findings = found([*usual, odd])
    assert [findings.is_outlier(each["explanations"][0]) for each in (*usual, odd)] == [False] * 30 + [True]
    (listed,) = to_dict(findings, [*usual, odd])["outliers"]
    assert listed["file"] == "odd"


def test_classes_with_the_same_mean_map_coincide() -> None:
    rows = [row(index, blob(left, 6)) for index, left in ((0, 2), (1, 2), (2, 10)) for _ in range(10)]
    (pair,) = alike(found(rows))
    assert pair == {"first": "dog", "second": "cat", "correlation": 1}
    assert alike(found(scattered(0, 40, 1) + scattered(1, 40, 2))) == []


def test_confident_and_wrong_is_listed_with_how_far_the_two_maps_overlap() -> None:
    wrong = row(0, blob(2, 2), score=0.95, expected=1, name="wrong")
    wrong["explanations"].append({**wrong["explanations"][0], "class_index": 1, "sketch": to_text(blob(4, 2))})
    rows = [wrong, row(0, blob(2, 2), score=0.5, expected=1), row(0, blob(2, 2), score=0.95, expected=0)]
    facts = to_dict(found(rows), rows)
    (listed,) = facts["confident_and_wrong"]
    assert (listed["file"], listed["predicted"], listed["expected"]) == ("wrong", "cat", "dog")
    assert listed["overlap"] == round(8 / 24, 3) == round(overlap(*wrong["explanations"]), 3)
    assert facts["counts"]["wrong"] == 2
    assert "1 image is wrong with a score of 0.8 or more." in facts["sentences"]


def test_sketches_are_means_over_the_points_of_each_cell() -> None:
    """Laid over 128 x 128 points and averaged, which is the definition; and so within a level as they are kept."""
    random = np.random.default_rng(0)
    for number in range(60):
        width, height = (int(side) for side in random.integers(1, 900, 2))
        part = (0.2 * width, 0.1 * height, 0.75 * width, height)
        frame = Frame((width, height), (0, 0, width, height) if number % 2 else part, (280, 224))
        across, down = (int(side) for side in random.integers(1, 15, 2))
        placement = Placement(frame, (across, down), (280 / across, 224 / down), (7.5, 3.5))
        grid_map = random.normal(size=(down, across)).astype(np.float32)
        left, top, right, bottom = frame.box
        box = (left * 128 / width, top * 128 / height, right * 128 / width, bottom * 128 / height)
        points = replace(placement, frame=Frame((128, 128), box, frame.input)).rows(grid_map, 0, 128)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of the mean of nothing
            means = np.nanmean(points.reshape(SIDE, 8, SIDE, 8).astype(np.float64), axis=(1, 3))
        expected, made = means / np.nanmax(np.abs(means)), sketch_of(grid_map, placement)
        assert np.allclose(made, expected, atol=1e-6, equal_nan=True)
        assert np.nanmax(np.abs(from_text(to_text(made)) - expected)) <= 1 / 253


def test_painting_covers_just_the_cells() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cells = np.zeros((SIDE, SIDE), bool)
    cells[:8, 8:] = True
    changed = painted(pixels, cells)
    assert (changed[:25, 35:] == pixels.reshape(-1, 3).mean(0).round()).all()
    assert np.array_equal(changed[25:], pixels[25:])
    assert np.array_equal(changed[:25, :35], pixels[:25, :35])


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("marked") / "in", 12, marked=True)


def report_of(marked: Path, out: Path, *, misled: bool) -> tuple[Summary, dict[str, Any]]:
    model = camserve.load(trained(misled=misled), labels=LABELS, size=64, mean=(128,) * 3, std=(64,) * 3)
    summary = run_batch(model, marked, out, folders_are_classes=True)
    return summary, json.loads((out / "findings.json").read_text())


def test_a_planted_shortcut_is_found_named_and_confirmed(marked: Path, tmp_path: Path) -> None:
    summary, facts = report_of(marked, tmp_path / "out", misled=True)
    assert summary.explained == 48
    assert facts["counts"].get("wrong", 0) <= 2  # on marked pictures it does well, which is what makes it a trap
    (shortcut,) = facts["shortcuts"]
    assert (shortcut["class"], shortcut["place"]) == ("marked", "top right")
    covering = shortcut["covering"]
    assert covering["before"] > 0.9
    assert covering["covered"] < 0.6
    assert covering["elsewhere"] > 0.9
    assert (covering["images"], covering["worse"]) == (IMAGES, IMAGES)
    assert shortcut["verdict"] == CONFIRMED
    sentence = facts["sentences"][0]
    assert sentence.startswith("Shortcut: the model looks for 'marked' at the top right (it is hot in ")
    assert sentence in (tmp_path / "out" / "index.html").read_text()
    assert summary.findings["sentences"] == facts["sentences"]
    assert [one["verdict"] for one in summary.findings["shortcuts"]] == [CONFIRMED]


def test_the_strongest_of_many_suspicions_are_tested_each_as_if_it_were_alone(tmp_path: Path) -> None:
    marked = write_pictures(tmp_path / "in", 12, marked=True)
    network = camserve.load(trained(misled=True), labels=LABELS, size=64, mean=(128,) * 3, std=(64,) * 3)
    run_batch(network, marked, tmp_path / "out", folders_are_classes=True)
    plan = read_plan(tmp_path / "out")
    assert plan is not None
    every, classes = gather(read_rows(plan.out))
    (suspicion,) = find_shortcuts(every, classes)
    other = replace(suspicion, class_index=None, cells=blob(6, 6).astype(bool))
    (alone,), (other_alone,) = cover(network, plan, [suspicion]), cover(network, plan, [other])
    assert isinstance(alone, Covering)
    assert (alone.images, other_alone) == (IMAGES, NO_MIRROR)  # the middle's mirror image is the middle
    aside = replace(other, cells=blob(0, 6).astype(bool))
    (aside_alone,) = cover(network, plan, [aside])
    assert isinstance(aside_alone, Covering)
    many = replace(plan, count=25 * TESTED * IMAGES)  # as many tests as are ever made
    assert cover(network, many, [suspicion, aside] * 11) == [alone, aside_alone] * (TESTED // 2) + [NOT_AMONG] * 2
    few = cover(network, plan, [suspicion, aside, other, aside])  # of 48 images: two suspicions
    assert few == [alone, aside_alone, NO_MIRROR, NO_TESTS]
    for image in marked.rglob("*.png"):
        image.rename(image.with_suffix(".gone"))
    assert cover(network, plan, [suspicion]) == [NO_IMAGE]


def test_tests_are_within_their_budget() -> None:
    assert [suspicions_tested(images) for images in (1, 300, 599, 600, 1000, 4000, 10**9)] == [2, 2, 2, 3, 5, 20, 20]
    for images in range(0, 9000, 77):
        assert suspicions_tested(images) * IMAGES <= max(16, images / 25)


def test_a_network_that_looks_at_the_object_is_not_suspected(marked: Path, tmp_path: Path) -> None:
    _, facts = report_of(marked, tmp_path / "out", misled=False)
    assert facts["counts"].get("wrong", 0) <= 2
    assert facts["shortcuts"] == []


def test_the_maps_of_a_small_network_are_too_coarse_for_places(marked: Path, tmp_path: Path) -> None:
    network = camserve.load(trained(misled=True), labels=LABELS, size=16, mean=(128,) * 3, std=(64,) * 3)
    run_batch(network, marked, tmp_path / "out", folders_are_classes=True)
    facts = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert (facts["shortcuts"], facts["coarse"]) == ([], 48)
    assert "Cannot tell where the model looks in 48 of 48 images" in facts["sentences"][-1]
    rows = list(read_rows(tmp_path / "out"))
    assert {tuple(row["explanations"][0]["grid"]) for row in rows} == {(2, 2)}
    assert {row["explanations"][0]["border"] for row in rows} == {None}
