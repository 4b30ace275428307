"""What a run's page says of a wrong answer, in a real browser: worst first, both classes on one scale, by keyboard."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from page_driving import watched
from PIL import Image
from planted import LABELS, picture_of, trained

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.options import ExplainOptions
from camserve.explanation.against import against
from camserve.explanation.common_scale import common_scale
from camserve.findings.results import read_rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

INPUT: dict[str, Any] = {"labels": LABELS, "size": 64, "mean": (128,) * 3, "std": (64,) * 3}


@pytest.fixture(scope="module")
def network() -> camserve.Model:
    return camserve.load(trained(misled=False), **INPUT)


@pytest.fixture(scope="module")
def out(network: camserve.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of upright and level stripes, half of each in the folder of the other, and their trust."""
    root = tmp_path_factory.mktemp("mistakes")
    for number in range(6):
        folder, shown = ("upright", "level")[number % 2], ("upright", "level")[number // 3]
        (root / "in" / folder).mkdir(parents=True, exist_ok=True)
        pixels = picture_of(LABELS.index(shown), 10_000 + number, marked=False)
        Image.fromarray(pixels).save(root / "in" / folder / f"{number}.png")
    run_batch(network, root / "in", root / "out", Options(how=ExplainOptions(trust=True)), folders_are_classes=True)
    return root / "out"


@pytest.fixture
def page(browser: Any, out: Path) -> Iterator["Page"]:
    with watched(browser) as opened:
        opened.goto(f"file://{out}/index.html")
        yield opened


def test_predicted_expected_and_their_difference_share_one_scale(network: camserve.Model, out: Path) -> None:
    row = next(row for row in read_rows(out) if row["predicted"]["class_name"] != row["expected"]["class_name"])
    (one, other) = row["explanations"]
    assert (one["variant"], one["files"]["against"]) == ("predicted", f"against/auto.predicted/{row['name']}.jpg")
    source = json.loads((out / "run.json").read_text())["source"]
    explained = network.explain_classes(Path(source) / row["file"], [one["class_name"], other["class_name"]])
    predicted, expected = explained
    found = against(predicted, expected, Options().look)
    apart = predicted.map - expected.map
    assert found.end == max(common_scale(explained), float(np.abs(apart).max()))
    assert one["against"] == {"scale": pytest.approx(found.end), "unit": "logits"}
    width, height = found.image.width // 4, found.image.height
    tiles = [np.asarray(found.image)[:, place * width : (place + 1) * width] for place in range(4)]
    large = explained[0].photo.image.resize((width, height), Image.Resampling.NEAREST)
    assert (tiles[0] == np.asarray(large)).all()
    for tile, explanation in zip(tiles[1:], explained, strict=False):
        # with a legend an overlay is as large, and differs where the legend is
        drawn = np.asarray(explanation.overlay(scale=found.end, legend=True))
        assert (tile == drawn).all(2).mean() > 0.6
    with Image.open(out / one["files"]["against"]) as file:
        assert file.size == found.image.size
        assert np.abs(np.asarray(file).astype(int) - np.asarray(found.image)).mean() < 6  # a JPEG


def test_right_answers_and_maps_without_a_scale_have_no_such_picture(
    network: camserve.Model, out: Path, tmp_path: Path
) -> None:
    rows = list(read_rows(out))
    assert {len(row["explanations"]) - 1 for row in rows} == {0, 1}
    for row in rows:
        assert ("against" in row["explanations"][0]) == (len(row["explanations"]) == 2)
    source = json.loads((out / "run.json").read_text())["source"]
    run_batch(network, source, tmp_path, Options(how=ExplainOptions(sharp=True)), folders_are_classes=True)
    assert any(len(row["explanations"]) == 2 for row in read_rows(tmp_path))
    assert not (tmp_path / "against").exists()


def test_wrong_answers_come_first_the_surest_before_the_others(page: "Page", out: Path) -> None:
    assert page.input_value("#order") == "worst"
    rows = list(read_rows(out))
    wrong = {row["file"]: row["predicted"]["class_name"] != row["expected"]["class_name"] for row in rows}
    score = {row["file"]: row["predicted"]["score"] for row in rows}
    expected = sorted(score, key=lambda file: (not wrong[file], -score[file] if wrong[file] else score[file]))
    assert [card.get_attribute("title") for card in page.locator("figure").all()] == expected
    page.select_option("#order", "trust")
    trust = {row["file"]: row["explanations"][0]["trust"] for row in rows}
    doubt = {file: one["probability"] or (0 if one["verdict"] == "doubtful" else 2) for file, one in trust.items()}
    shown = [doubt[card.get_attribute("title") or ""] for card in page.locator("figure").all()]
    assert shown == pytest.approx(sorted(doubt.values()), abs=1e-4)  # as many digits as the page has


def seen(page: "Page", selector: str) -> np.ndarray:
    with Image.open(io.BytesIO(page.locator(selector).screenshot())) as shot:
        return np.asarray(shot.convert("RGB")).astype(int)


def test_a_wrong_answer_opens_with_photograph_both_maps_and_the_difference(page: "Page", out: Path) -> None:
    page.locator("figure").first.click()
    captions = page.locator(".against .caption").all_inner_texts()
    (first, *_) = (row for row in read_rows(out) if row["file"] == page.locator("#file").inner_text())
    one, other = first["explanations"]
    assert captions == [
        "The photograph",
        f"Predicted: {one['class_name']} {one['score']:.2f}",
        f"Expected: {other['class_name']} {other['score']:.2f}",
        f"For {one['class_name']} over {other['class_name']}",
    ]
    end = f"{first['explanations'][0]['against']['scale']:.3g} logits"
    assert page.locator(".ends").all_inner_texts() == [f"0\n{end}", f"0\n{end}", f"-{end}\n{end}"]
    page.wait_for_function("[...document.querySelectorAll('.quarter img')].every(one => one.naturalWidth > 0)")
    with Image.open(out / one["files"]["against"]) as file:
        whole = file.convert("RGB")
    for place in range(4):
        shown = seen(page, f".against > div:nth-child({place + 1}) .quarter")[12:-12, 12:-12]  # without round corners
        quarter = whole.crop((place * whole.width // 4, 0, (place + 1) * whole.width // 4, whole.height))
        large = np.asarray(quarter.resize((shown.shape[1] + 24, shown.shape[0] + 24), Image.Resampling.BILINEAR))
        assert np.abs(shown - large[12:-12, 12:-12]).mean() < 8, place
    assert f"trust: {one['trust']['verdict']}" in page.locator(".large").inner_text()


def test_numbers_of_the_matrix_are_reached_by_arrows_and_show_their_pictures(page: "Page", out: Path) -> None:
    rows = list(read_rows(out))
    places = {"upright": 0, "level": 1}  # in the order of the model's classes
    counts = np.zeros((2, 2), int)
    for row in rows:
        counts[places[row["expected"]["class_name"]], places[row["predicted"]["class_name"]]] += 1
    assert counts.all()
    buttons = page.locator(".matrix button")
    assert [int(text) for text in buttons.all_inner_texts()] == list(counts.ravel())
    buttons.first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # nothing is there
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == str(counts[1, 0])
    assert page.locator(".matrix button[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() == f"{counts[1, 0]} of 6 images"
    assert page.evaluate("document.activeElement.tagName") == "FIGURE"
    assert not page.locator("dialog").is_visible()
    page.keyboard.press("Space")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_people_who_see_or_hear_it_otherwise(browser: Any, out: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="no axe-core-python").Axe()
    with watched(browser, color_scheme=scheme) as page:
        page.goto(f"file://{out}/index.html")
        for act in ("", "for (const one of document.querySelectorAll('details')) one.open = true", "open(0)"):
            page.evaluate(act)
            found = axe.run(page)["violations"]
            assert not found, [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


def test_tab_comes_to_one_card_and_its_focus_is_seen(page: "Page") -> None:
    tabbed = "[...document.querySelectorAll('figure')].filter(one => one.tabIndex === 0).map(one => one.title)"
    cards = page.locator("figure")
    titles = [card.get_attribute("title") for card in cards.all()]
    assert page.evaluate(tabbed) == [titles[0]]
    cards.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(tabbed) == [titles[1]]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") != "FIGURE"


def test_each_class_has_its_mean_map_beside_recall_and_precision(page: "Page", out: Path) -> None:
    heads = [head.strip() for head in page.locator("#each th").all_inner_texts()]
    assert heads == ["class", "images", "right", "recall", "precision", "mean map"]
    answered = {row["predicted"]["class_name"] for row in read_rows(out)}
    assert page.locator("#each td.mean canvas").count() == len(answered)


def test_the_folder_can_be_moved_and_fits_a_telephone(browser: Any, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "elsewhere")
    with watched(browser, 390, 844, color_scheme="dark") as phone:
        phone.goto(f"file://{tmp_path}/elsewhere/index.html")
        assert not phone.evaluate("document.getElementById('each').open")  # pictures come first where there is no room
        phone.locator("figure").first.click()
        phone.wait_for_function("[...document.querySelectorAll('dialog img')].every(one => one.naturalWidth > 0)")
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tops = [part.bounding_box()["y"] for part in phone.locator(".against > div").all()]
        assert tops[0] == tops[1] < tops[2] == tops[3]
