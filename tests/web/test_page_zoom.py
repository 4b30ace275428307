"""A closer look at the picture: buttons, keys, the wheel and two fingers; places and regions stay what they are."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from page_driving import NOISE, at, explained, upload

import camserve
from camserve.images.reading import encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def pointed(page: "Page") -> "Page":
    upload(page, data=NOISE)
    explained(page)
    return page


def scale(page: "Page") -> float:
    sheet, frame = (page.locator(one).bounding_box() for one in ("#sheet", "#frame"))
    assert sheet is not None
    assert frame is not None
    return sheet["width"] / frame["width"]


def test_the_wheel_keeps_the_place_below_the_pointer(pointed: "Page", model: camserve.Model) -> None:
    pointed.mouse.move(*at(pointed, 0.705, 0.805))
    before = pointed.inner_text("#place")
    pointed.keyboard.down("Control")
    for _ in range(4):
        pointed.mouse.wheel(0, -150)
    pointed.keyboard.up("Control")
    pointed.wait_for_function("() => zoomed.innerText !== '100 %'")
    assert scale(pointed) == pytest.approx(4.48, rel=0.02)  # exp(0.0025 * 600)
    x, y = at(pointed, 0.705, 0.805)
    pointed.mouse.move(x + 1, y)
    pointed.mouse.move(x, y)
    assert pointed.inner_text("#place") == before
    assert before.startswith("The place 63, 56 ")


def test_a_region_drawn_close_up_is_exact(pointed: "Page", model: camserve.Model) -> None:
    pointed.mouse.click(*at(pointed, 0.5, 0.5))
    for _ in range(3):
        pointed.click("#closer")
    assert scale(pointed) == pytest.approx(1.5**3)
    pointed.mouse.move(*at(pointed, 41.5 / 90, 30.5 / 70))
    pointed.mouse.down()
    pointed.mouse.move(*at(pointed, 52.5 / 90, 40.5 / 70), steps=3)
    pointed.mouse.up()
    share = model.explain(NOISE).share((41, 30, 53, 41))
    said = f"{share:.3g}".replace("-", "\N{MINUS SIGN}")
    assert pointed.inner_text("#place").startswith(f"This region contributes {said} of ")
    mark = pointed.locator("#mark").bounding_box()
    assert mark is not None
    assert (mark["x"], mark["y"]) == pytest.approx(at(pointed, 41.5 / 90, 30.5 / 70), abs=1.5)


def test_keys_zoom_follow_the_place_and_show_all_again(pointed: "Page") -> None:
    pointed.focus("#frame")
    for _ in range(4):
        pointed.keyboard.press("+")
    for _ in range(3):
        pointed.keyboard.press("ArrowRight")
    mark, frame = (pointed.locator(one).bounding_box() for one in ("#mark", "#frame"))
    assert mark is not None
    assert frame is not None
    assert frame["x"] <= mark["x"] <= frame["x"] + frame["width"]
    assert pointed.evaluate("sheet.style.transform").startswith("scale(5.06")
    pointed.keyboard.press("-")
    assert pointed.inner_text("#zoomed") == "338 %"
    pointed.keyboard.press("0")
    assert (pointed.inner_text("#zoomed"), scale(pointed)) == ("100 %", 1)
    assert pointed.is_disabled("#whole")


def test_what_is_looked_at_closely_is_moved_by_the_wheel_and_the_middle_button(pointed: "Page") -> None:
    top = pointed.evaluate("scrollY")
    pointed.click("#closer")
    pointed.click("#closer")
    start = pointed.locator("#sheet").bounding_box()
    pointed.mouse.move(*at(pointed, 0.5, 0.5))
    pointed.mouse.wheel(40, 30)
    pointed.wait_for_timeout(100)
    moved = pointed.locator("#sheet").bounding_box()
    assert start is not None
    assert moved is not None
    assert (moved["x"], moved["y"]) == pytest.approx((start["x"] - 40, start["y"] - 30), abs=1)
    assert pointed.evaluate("scrollY") == top
    x, y = at(pointed, 0.5, 0.5)
    pointed.mouse.move(x, y)
    pointed.mouse.down(button="middle")
    pointed.mouse.move(x + 25, y + 20, steps=4)
    pointed.mouse.up(button="middle")
    assert at(pointed, 0.5, 0.5) == pytest.approx((x + 25, y + 20), abs=1)
    pointed.hover("header")
    assert pointed.is_hidden("#mark")  # no region was drawn


def test_two_fingers_zoom_and_a_tap_still_asks(browser: "Browser", address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    upload(page, data=NOISE)
    explained(page)
    page.locator("#frame").scroll_into_view_if_needed()
    touch = context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        given = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

    x, y = at(page, 0.5, 0.5)
    fingers("touchStart", (x - 20, y))
    fingers("touchStart", (x - 20, y), (x + 20, y))
    for far in (30, 45, 60):
        fingers("touchMove", (x - far, y), (x + far, y))
    fingers("touchEnd")
    assert scale(page) == pytest.approx(3, rel=0.05)
    assert at(page, 0.5, 0.5) == pytest.approx((x, y), abs=6)
    assert page.is_hidden("#mark")
    page.touchscreen.tap(*at(page, 45.5 / 90, 35.5 / 70))
    assert page.inner_text("#place").startswith("The place 45, 35 ")
    fingers("touchStart", (x, y))
    for far in (10, 20, 30):
        fingers("touchMove", (x - far, y))
    fingers("touchEnd")
    assert page.inner_text("#place").startswith("The place 45, 35 ")  # the sheet was moved, no region was drawn
    assert at(page, 0.5, 0.5)[0] == pytest.approx(x - 30, abs=8)
    context.close()


def test_a_large_photograph_is_drawn_with_more_pixels_close_up(page: "Page", cat: Path) -> None:
    from PIL import Image

    with Image.open(cat) as opened:
        upload(page, data=encode(opened.convert("RGB").resize((1804, 1200)), "jpeg"))
    explained(page)
    assert page.evaluate("heat.width") < 1300
    page.click("#closer")
    page.wait_for_function("() => heat.width === 1804")
    page.click("#whole")
    page.wait_for_function("() => heat.width < 1300")
