"""The page of a batch, opened from the disk in a real browser: what it shows, and that 10,000 images do not slow it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import picture
from page_driving import watched
from PIL import Image
from planted import LABELS, picture_of, trained

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.options import ExplainOptions
from camserve.findings.covering import CANNOT_TELL, CONFIRMED, REFUTED
from camserve.findings.findings import find, write_findings
from camserve.findings.report_page import safe, write_report
from camserve.findings.results import read_rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

MANY = 10_000
COLORMAPS = "inferno", "icefire"


@pytest.fixture
def page(browser: Any) -> Iterator["Page"]:
    with watched(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def out(model: camserve.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with hostile names, one of them said to be a tench, and one that is none."""
    folder = tmp_path_factory.mktemp("in")
    names = ["plain.png", "a#b?c%20.png", "</script><b>.png".replace("/", "_"), "ünï.png"]
    for number, name in enumerate(names):
        picture(number, (300, 200)).save(folder / name)
    (folder / "fake.png").write_text("no picture")
    table = ["file,class", "plain.png,tench", *(f"{name}," for name in [*names[1:], "fake.png"])]
    (folder / "table.csv").write_text("\n".join(table))
    out = tmp_path_factory.mktemp("out")
    run_batch(model, str(folder / "table.csv"), out, Options(how=ExplainOptions(size="crop")))
    return out


def count(page: "Page") -> str:
    return page.locator("#count").inner_text()


def test_the_page_shows_each_image_and_each_failure(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    assert page.locator("h1").inner_text() == "4 explained, 1 failed: 0 of 1 right (0 %), 3 more without a known class"
    assert count(page) == "5 images"
    assert page.locator("figure").count() == 5
    assert "'fake.png'" in page.locator("figure.failed").inner_text()
    page.wait_for_function("[...document.images].length === 5 && [...document.images].every(i => i.naturalWidth > 0)")
    assert page.locator("figure", has_text="expected: tench").count() == 1
    assert page.locator("b >> text=.png").count() == 0  # a file's name never becomes markup


def test_filters_and_orders(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    rows = {row["file"]: row for row in read_rows(out) if row["status"] == "ok"}
    page.fill("#search", "PLAIN")
    assert count(page) == "1 of 5 images"
    page.click("#all")
    page.select_option("#flag", "failed")
    assert page.locator("figure").count() == page.locator("figure.failed").count() == 1
    page.click("#all")
    page.select_option("#flag", "wrong")
    assert page.locator("figure .file").all_inner_texts() == ["plain.png"]
    page.click("#all")
    seen = "the model saw #"
    kinds = page.locator("#warning option").all_inner_texts()
    page.select_option("#warning", label=next(kind for kind in kinds if kind.startswith(seen)))
    assert count(page) == "4 of 5 images"
    page.click("#all")
    page.select_option("#order", "low")
    by_score = sorted(rows, key=lambda name: rows[name]["explanations"][0]["score"])
    cards = sorted(page.locator("figure").all(), key=lambda card: (card.bounding_box()["y"], card.bounding_box()["x"]))
    assert [card.get_attribute("title") for card in cards] == [*by_score, "fake.png"]
    scores = sorted(row["explanations"][0]["score"] for row in rows.values())
    page.fill("#low", f"{(scores[1] + scores[2]) / 2:.4f}")
    assert count(page) == "2 of 5 images"


def test_a_card_opens_with_the_predicted_and_the_expected_map(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    page.fill("#search", "plain")
    page.click("figure")
    large = page.locator("dialog")
    assert "Expected: tench" in large.inner_text()
    assert large.locator(".large img").count() == 2
    assert "the model saw" in large.inner_text()
    page.click("#close")
    assert not large.is_visible()


def has_focus(page: "Page", file: str | None) -> bool:
    """Whether the card of a file has the focus, or gets it in a moment: a dialog's end is told a moment later."""
    page.wait_for_function("file => document.activeElement.title === file", arg=file, timeout=3000)
    return True


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_opens_a_card_which_stays_open_until_escape(page: "Page", out: Path, key: str) -> None:
    page.goto(f"file://{out}/index.html")
    card, large = page.locator("figure", has_text="plain.png"), page.locator("dialog")
    card.focus()
    page.keyboard.down(key)
    page.keyboard.down(key)  # held: the keyboard repeats it
    page.keyboard.up(key)
    page.wait_for_timeout(100)
    assert large.is_visible()
    assert large.locator("h2").inner_text() == "plain.png"
    page.keyboard.press("Escape")
    assert not large.is_visible()
    assert has_focus(page, "plain.png")


def test_arrows_lead_through_the_cards_and_through_the_opened_pictures(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    files = [card.get_attribute("title") for card in page.locator("figure").all()]
    large = page.locator("dialog")
    page.locator("figure").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert has_focus(page, files[2])
    page.keyboard.press("ArrowLeft")
    assert has_focus(page, files[1])
    page.keyboard.press("ArrowDown")  # four cards in a row, and one below the first
    page.keyboard.press("ArrowUp")
    assert has_focus(page, files[1])
    page.keyboard.press("End")
    assert has_focus(page, files[4])
    page.keyboard.press("ArrowUp")
    assert has_focus(page, files[0])
    page.keyboard.press("Enter")
    for file in files[1:]:
        page.keyboard.press("ArrowRight")
        assert large.locator("h2").inner_text() == file
    assert large.locator("#place").inner_text() == "5 of 5"
    page.keyboard.press("ArrowRight")  # nothing follows
    page.keyboard.press("ArrowLeft")
    page.click("#before")
    assert large.locator("h2").inner_text() == files[2]
    page.keyboard.press("ArrowLeft")  # the button that was clicked does not keep the keys to itself
    assert large.locator("h2").inner_text() == files[1]
    page.keyboard.press("Escape")
    assert has_focus(page, files[1])


def test_a_failure_opens_too(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    page.locator("figure.failed").press("Enter")
    assert "'fake.png'" in page.locator("dialog p").inner_text()


def test_a_script_s_end_in_a_name_stays_a_name() -> None:
    assert safe({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


@pytest.fixture(scope="module")
def many(out: Path, model: camserve.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images ten thousand times, with other names and scores."""
    rows = [row for row in read_rows(out) if row["status"] == "ok"]
    large = tmp_path_factory.mktemp("many")
    for kind in ("overlays", "thumbnails"):
        (large / kind).symlink_to(out / kind)
    with (large / "results.jsonl").open("w") as results:
        for number in range(MANY):
            row = json.loads(json.dumps(rows[number % len(rows)]))
            row["file"] = f"{number:05}.png"
            row["explanations"][0]["score"] = number / MANY
            results.write(json.dumps(row) + "\n")
    findings = find(large, model.labels)
    write_report(large, "many", model.name, findings, write_findings(large, findings), COLORMAPS)
    return large


def elapsed(page: "Page", script: str) -> float:
    """Milliseconds until the browser has done `script` and painted the frame after it."""
    timed = f"""async () => {{
        const start = performance.now();
        {script};
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - start;
    }}"""
    return min(float(page.evaluate(timed)) for _ in range(3))


def test_ten_thousand_images_do_not_slow_the_page(page: "Page", many: Path) -> None:
    start = time.monotonic()
    page.goto(f"file://{many}/index.html")
    assert count(page) == "10,000 images"
    assert time.monotonic() - start < 8
    inputs = "el.value = {}; el.dispatchEvent(new Event('input'))"
    taken = {
        "filter": elapsed(page, "const el = document.getElementById('search');" + inputs.format("'77'")),
        "unfilter": elapsed(page, "const el = document.getElementById('search');" + inputs.format("''")),
        "sort": elapsed(page, "const el = document.getElementById('order');" + inputs.format("'high'")),
        "scroll": elapsed(page, "scrollTo(0, document.body.scrollHeight * Math.random())"),
    }
    assert max(taken.values()) < 500, taken
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("[...document.querySelectorAll('figure')].some(card => card.title === '00000.png')")
    assert page.locator("figure").count() < 100  # sorted by score, so the first is the last; few exist at once
    page.locator("figure").first.focus()
    page.keyboard.press("Home")  # no card is there yet
    assert has_focus(page, f"{MANY - 1:05}.png")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    assert page.locator("dialog h2").inner_text() == "00001.png"
    page.keyboard.press("Escape")
    assert has_focus(page, "00001.png")


def test_unsure_answers_are_marked_and_can_be_filtered_for(page: "Page", out: Path) -> None:
    page.goto(f"file://{out}/index.html")
    rows = [row["file"] for row in read_rows(out) if row.get("unsure")]
    assert rows  # noise is nothing that the model knows
    page.locator("#sentences li", has_text="unsure of").locator("button").click()
    assert sorted(page.locator("figure .file").all_inner_texts()) == sorted(rows)
    assert page.locator("figure .mark", has_text="unsure").count() == len(rows)


@pytest.fixture
def written(out: Path, model: camserve.Model, tmp_path: Path) -> Callable[..., Path]:
    """Writes the page of the run with other findings."""

    def write(**changed: Any) -> Path:
        findings = find(out, model.labels)
        (tmp_path / "results.jsonl").write_bytes((out / "results.jsonl").read_bytes())
        for kind in ("overlays", "thumbnails"):
            (tmp_path / kind).symlink_to(out / kind)
        facts = {**write_findings(out, findings), **changed}
        write_report(tmp_path, "many", model.name, findings, facts, COLORMAPS)
        return tmp_path / "index.html"

    return write


def suspicion(verdict: str, place: str) -> dict[str, Any]:
    return {"sentence": f"About the {place}.", "class": None, "place": place, "verdict": verdict}


def test_only_what_covering_confirms_is_red(page: "Page", written: Callable[..., Path]) -> None:
    suspected = [suspicion(REFUTED, "left"), suspicion(CANNOT_TELL, "top"), suspicion(CONFIRMED, "bottom")]
    page.goto(f"file://{written(shortcuts=suspected, counts={'wrong': 2}, alike=[], cannot_tell=['Cannot tell it.'])}")
    listed = page.locator("#sentences li")
    assert [one.get_attribute("class") for one in listed.all()] == ["confirmed", "unknown", "unknown", "refuted"]
    assert [one.inner_text().removesuffix(" show them") for one in listed.all()] == [
        "About the bottom.",
        "About the top.",
        "Cannot tell it.",
        "1 suspected shortcut was tested and refuted: all classes at the left.",
    ]
    assert [one.locator("button").count() for one in listed.all()] == [1, 1, 0, 0]
    red, *others = (one.evaluate("one => getComputedStyle(one).borderLeftColor") for one in listed.all())
    assert red not in others
    assert "Nothing found" not in page.locator("#findings").inner_text()


def test_what_nobody_can_tell_is_no_finding(page: "Page", written: Callable[..., Path]) -> None:
    page.goto(f"file://{written(shortcuts=[], counts={}, alike=[], cannot_tell=['Cannot tell it.'])}")
    listed = page.locator("#sentences li").all_inner_texts()
    assert listed == ["Nothing found, but not everything could be checked.", "Cannot tell it."]


def test_answers_class_by_class(page: "Page", marked_run: Path) -> None:
    page.goto(f"file://{marked_run}/index.html")
    assert page.locator("#right").inner_text().startswith("2 of 4 right (50 %).")
    table = [row.inner_text().split("\t")[:5] for row in page.locator("#each tbody tr").all()]
    assert table == [["level", "2", "0", "0 %", "-"], ["upright", "2", "2", "100 %", "50 %"]]
    assert page.locator("#confused summary").inner_text() == (
        "Confusion matrix: most often level is predicted as upright, 2 of 2"
    )
    cells = [[cell.inner_text() for cell in row.locator("td").all()] for row in page.locator(".matrix tr").all()]
    assert cells[1:] == [["2", ""], ["2", ""]]
    page.locator(".matrix .miss button").click()
    assert sorted(page.locator("figure .file").all_inner_texts()) == ["level/000.png", "level/001.png"]
    page.click("#all")
    page.locator("#each button", has_text="upright").click()
    assert count(page) == "2 of 4 images"
    page.locator("#right button").click()
    assert count(page) == "2 of 4 images"
    scores = [float(text) for text in page.locator("figure .class b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)


@pytest.fixture(scope="module")
def marked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of upright stripes, two of them in a folder of another class."""
    root = tmp_path_factory.mktemp("answers")
    upright = LABELS.index("upright")
    for number in range(4):
        folder = root / "in" / ("upright" if number < 2 else "level")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = picture_of(upright, 10_000 + number, marked=False)
        Image.fromarray(pixels).save(folder / f"{number % 2:03}.png")
    network = camserve.load(trained(misled=False), labels=LABELS, size=64, mean=(128,) * 3, std=(64,) * 3)
    run_batch(network, root / "in", root / "out", folders_are_classes=True)
    return root / "out"


def test_no_findings_are_said(page: "Page", written: Callable[..., Path]) -> None:
    page.goto(f"file://{written(shortcuts=[], counts={}, alike=[], cannot_tell=[])}")
    assert page.locator("#sentences li").all_inner_texts() == [
        "Nothing found in 4 images: no class with its heat at one place, no map unlike the others of its class, no "
        "answer with a low best score, no wrong answer with a score of 0.8 or more."
    ]


def test_many_findings_leave_the_pictures_in_sight(page: "Page", written: Callable[..., Path]) -> None:
    many = [suspicion(CONFIRMED, f"{number}") for number in range(300)]
    page.goto(f"file://{written(shortcuts=many, counts={}, alike=[], cannot_tell=[])}")
    assert page.locator("figure").count() == 5
    assert page.locator("#sentences li").count() == 6
    page.click("text=294 more")
    shown = [text.removesuffix(" show them") for text in page.locator("#more li:visible").all_inner_texts()]
    assert shown == [f"About the {number}." for number in range(6, 300)]
