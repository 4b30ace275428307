"""Pointing at the photograph: which classes a place votes for, what its cell can have seen, how much a region gives."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from page_driving import NOISE, at, explained, upload

import camserve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


@pytest.fixture
def pointed(page: "Page") -> "Page":
    """The page with a picture, after which the service is asked for nothing more."""
    upload(page, data=NOISE)
    explained(page)
    page.route("**/api/v1/explain", lambda _: None)
    return page


def numbers(page: "Page") -> list[float]:
    text = page.inner_text("#place").replace("\N{MINUS SIGN}", "-")
    return [float(number) for number in re.findall(r"-?[\d.]+\d|-?\d", text)]


def shares_of(found: camserve.Explanation, region: tuple[int, int, int, int]) -> list[float]:
    """What the page says: the region's share, the share of all places, and their ratio in percent."""
    gives, whole = found.share(region), found.share((0, 0, 90, 70))
    assert whole > 0
    return [float(f"{gives:.3g}"), float(f"{whole:.3g}"), round(100 * gives / whole)]


def check_votes(page: "Page", model: camserve.Model, x: int, y: int) -> None:
    votes = model.explain(NOISE).at(x, y)
    said = " · ".join(f"{vote.class_name} {vote.logits:.3g}" for vote in votes)
    page.wait_for_selector(f"#place:has-text('The place {x}, {y} has these logits: {said}.')")


def test_hovering_and_clicking_name_the_classes_of_a_place(pointed: "Page", model: camserve.Model) -> None:
    hint = pointed.inner_text("#place")
    pointed.mouse.move(*at(pointed, 0.705, 0.805))
    check_votes(pointed, model, 63, 56)
    pointed.hover("header")
    assert pointed.inner_text("#place") == hint
    assert pointed.is_hidden("#mark")
    pointed.mouse.click(*at(pointed, 0.5, 0.25))
    pointed.hover("header")
    check_votes(pointed, model, 45, 17)
    assert pointed.is_visible("#mark")


def test_a_drag_gives_the_share_of_a_region_to_the_digit(pointed: "Page", model: camserve.Model) -> None:
    found = model.explain(NOISE)
    pointed.mouse.move(*at(pointed, 0.001, 0.307))
    pointed.mouse.down()
    pointed.mouse.move(*at(pointed, 0.499, 0.999), steps=3)
    pointed.mouse.up()
    assert numbers(pointed) == shares_of(found, (0, 21, 45, 70))
    second = model.explain(NOISE, target=found.top(2)[1].class_index)
    pointed.click("#top li:nth-child(2) button")  # the region stays, and says what it gives to another class
    assert f"logits to {second.class_name} (" in pointed.inner_text("#place")
    assert numbers(pointed) == shares_of(second, (0, 21, 45, 70))
    pointed.hover("#top li:nth-child(1) button")  # while another class is shown, the text is about that class
    assert f"logits to {found.class_name} (" in pointed.inner_text("#place")


def test_arrow_keys_go_from_cell_to_cell_and_draw_a_region(pointed: "Page", model: camserve.Model) -> None:
    found = model.explain(NOISE)
    pointed.focus("#frame")
    pointed.keyboard.press("ArrowRight")
    (x, y), (width, height) = numbers(pointed)[:2], found.placement.grid
    u, v = found.placement.cell_at(x, y)
    assert (round(float(u)), round(float(v))) == (width // 2 + 1, height // 2)
    assert abs(float(u) - round(float(u))) * found.placement.stride[0] / found.placement.frame.scale[0] <= 0.51
    check_votes(pointed, model, int(x), int(y))
    for key in ("Shift+ArrowDown", "Shift+ArrowRight"):
        pointed.keyboard.press(key)
    assert pointed.inner_text("#place").startswith("This region contributes ")
    assert not pointed.evaluate("mark.classList.contains('point')")
    pointed.keyboard.press("Escape")
    assert pointed.is_hidden("#mark")


def test_what_a_cell_can_have_seen_is_dashed(page: "Page", model: camserve.Model, cat: Path) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    page.select_option("#size", "448")
    page.wait_for_selector("#busy", state="visible")
    explained(page)
    found = model.explain(cat, size=448)
    page.mouse.move(*at(page, 0.03, 0.04))
    left, top, right, bottom = found.receptive_box(13, 12)
    share = (right - left) * (bottom - top) / (451 * 300)
    assert f"the dashed area, {100 * share:.0f} % of the photograph" in page.inner_text("#place")
    seen, frame = (page.locator(one).bounding_box() for one in ("#seen", "#frame"))
    assert seen is not None
    assert frame is not None
    assert seen["width"] / frame["width"] == pytest.approx((right - left) / 451, abs=0.01)
    assert seen["height"] / frame["height"] == pytest.approx((bottom - top) / 300, abs=0.01)


def test_what_the_model_did_not_see_is_said(page: "Page", cat: Path) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    page.select_option("#size", "crop")
    page.wait_for_selector("#busy", state="visible")
    explained(page)
    page.mouse.move(*at(page, 0.01, 0.012))
    assert page.inner_text("#place") == "The model did not see the place 4, 3."


def test_where_places_do_not_add_up_the_page_says_why(page: "Page") -> None:
    reason = "what a place adds to a logit is not known"

    def without_maps(route: "Route") -> None:
        body = route.fetch().json()
        body["outputs"] = {"maps": {"reason": reason}}
        route.fulfill(json=body)

    page.route("**/api/v1/explain", without_maps)
    upload(page, data=NOISE)
    explained(page)
    page.mouse.move(*at(page, 0.5, 0.5))
    assert f"is not known here: {reason}." in page.inner_text("#place")


def test_a_tap_asks_about_a_place(browser: "Browser", address: str, model: camserve.Model) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    upload(page, data=NOISE)
    explained(page)
    page.locator("#frame").scroll_into_view_if_needed()
    page.touchscreen.tap(*at(page, 0.5, 0.25))
    check_votes(page, model, 45, 17)
    page.locator("#answers .touch").wait_for(state="visible")
    assert page.is_hidden("#answers .mouse")
    picture, answers, look = (page.locator(one).bounding_box() for one in ("#frame", "#answers", ".look"))
    assert picture and answers and look
    assert picture["y"] < answers["y"] < look["y"]  # the classes stand right below the picture
    context.close()
