"""Methods side by side on the page: what each costs, what cannot run, progress, cancel, one scale."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from page_driving import NOISE, explained, forecast, settle, stepwise, upload
from PIL import Image

import camserve
from camserve.explanation.common_scale import common_scale
from camserve.methods import FAMILIES
from camserve.web.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

STEP = 6  # of a colour's 255, see test_page_picture.py


@pytest.fixture
def open_page(page: "Page") -> "Page":
    """The page with a picture, the methods listed and what they cost known."""
    upload(page, data=NOISE)
    explained(page)
    page.wait_for_selector("#why:visible")
    page.click("#side-by-side")
    return page


def tick(page: "Page", *names: str) -> None:
    for name in names:
        page.check(f"#chooser [value='{name}']")


def run(page: "Page") -> None:
    page.click("#compare-start")
    page.wait_for_selector("#compare-said:text-is('Done.')")
    for _ in range(len(page.query_selector_all("#tiles li"))):
        settle(page)


def tile(page: "Page", title: str) -> npt.NDArray[np.int16]:
    url = page.eval_on_selector(f"#tiles li:has-text('{title}') canvas", "canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(np.int16)


def check_tile(page: "Page", title: str, overlay: Image.Image) -> None:
    assert np.abs(tile(page, title) - np.asarray(overlay)).max() <= STEP


def test_methods_stand_in_their_groups_with_their_cost_and_the_reason_against(open_page: "Page") -> None:
    assert open_page.locator("#chooser legend").all_inner_texts() == list(FAMILIES)
    for family, methods in FAMILIES.items():
        group = open_page.locator("#chooser fieldset").filter(has_text=family)
        assert group.locator("span").all_inner_texts() == [method.title for method in methods]
    assert open_page.is_disabled("#chooser [value=legrad]")
    assert "no attention layers" in open_page.inner_text("#chooser label:has([value=legrad])")
    assert open_page.inner_text("#chooser label:has([value=cam]) small") == "under 0.1 s"
    assert open_page.is_disabled("#compare-start")
    tick(open_page, "cam", "gradcam")
    assert open_page.inner_text("#compare-said").startswith("2 methods, about ")
    assert not open_page.is_disabled("#compare-start")


def test_maps_in_logits_share_a_scale_and_others_a_scale_of_shares(open_page: "Page", model: camserve.Model) -> None:
    tick(open_page, "cam", "affinitycam")
    run(open_page)
    found = model.explain_methods(NOISE, ["cam", "affinitycam"])
    end = common_scale(found)
    assert open_page.inner_text("#compare-high") == f"{end:.3g} logits"
    for title, one in zip(("CAM", "Affinity CAM"), found, strict=True):
        exact = f"li:has(button:text-is('{title}'))"
        assert f"peak {one.map.max():.3g} logits" in open_page.inner_text(f"#tiles {exact} small")
    check_tile(open_page, "Affinity CAM", found[1].overlay(scale=end))
    open_page.check("#grey")
    settle(open_page)
    settle(open_page)
    check_tile(open_page, "Affinity CAM", found[1].overlay(scale=end, grey=True))
    tick(open_page, "gradcam")
    run(open_page)
    assert open_page.inner_text("#compare-high") == "100 %"
    assert "each map is scaled to its own peak" in open_page.inner_text("#compare-unit")
    check_tile(open_page, "Affinity CAM", found[1].overlay(grey=True))
    check_tile(open_page, "Grad-CAM", model.explain(NOISE, method="gradcam").overlay(grey=True))


def test_what_is_compared_is_the_class_that_is_shown(open_page: "Page", model: camserve.Model) -> None:
    open_page.click("#top li:nth-child(3) button")
    third = model.explain(NOISE).top(3)[2]
    open_page.wait_for_selector(f"#for:text-is('{third.class_name}')")
    tick(open_page, "layercam")
    run(open_page)
    assert open_page.inner_text("#compare-for") == third.class_name
    check_tile(open_page, "LayerCAM", model.explain(NOISE, target=third.class_index, method="layercam").overlay())
    open_page.click("#top li:nth-child(1) button")  # no picture of another class stays
    assert open_page.locator("#tiles li").count() == 0
    assert open_page.is_hidden("#compare-scale")
    assert open_page.is_checked("#chooser [value=layercam]")


def test_a_tile_is_shown_large(open_page: "Page") -> None:
    tick(open_page, "layercam")
    run(open_page)
    open_page.click("#tiles button")
    open_page.wait_for_selector("#by:text-is('LayerCAM')")
    assert open_page.input_value("#method") == "layercam"
    assert open_page.locator("#tiles li:not(.empty)").count() == 1


def test_a_method_that_fails_says_why_and_the_others_go_on(open_page: "Page") -> None:
    def fail(route: "Route") -> None:
        if b"gradcam++" in (route.request.post_data_buffer or b""):
            route.fulfill(status=422, json={"status": 422, "code": "option", "detail": "it does not go (explain.size)"})
        else:
            route.continue_()

    open_page.route("**/api/v1/explain", fail)
    tick(open_page, "gradcam++", "layercam")
    run(open_page)
    assert open_page.inner_text("#tiles li:has-text('Grad-CAM++') small") == "It does not go"
    assert open_page.locator("#tiles li:not(.empty) button").all_inner_texts() == ["LayerCAM"]


def test_a_long_one_runs_as_a_job_shows_how_far_it_is_and_is_stopped(
    page: "Page", service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = stepwise(monkeypatch)
    forecast(page, groupcam=45.0)
    upload(page, data=NOISE)
    explained(page)
    page.wait_for_selector("#why:visible")
    page.click("#side-by-side")
    tick(page, "groupcam", "cam")
    assert page.inner_text("#chooser label:has([value=groupcam]) small") == "45 s"
    page.click("#compare-start")
    page.wait_for_selector("#tiles li:has-text('CAM'):not(.empty)")  # the quick one comes first
    go_on.release(2)
    page.wait_for_selector("#compare-said:text-is('Group-CAM, 2 of 2')")
    page.wait_for_selector("#tiles li:nth-child(2) small:text-matches('^[1-9]')")
    assert page.evaluate("document.querySelector('#compare-progress').value") > 0
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.click("#compare-cancel")
    page.wait_for_selector("#compare-said:text-is('Stopped. Finished maps are kept.')")
    assert page.locator("#tiles li:not(.empty) button").all_inner_texts() == ["CAM"]
    assert page.inner_text("#tiles li.empty small") == "stopped"
    go_on.release(10_000)


def test_another_photograph_ends_it(open_page: "Page", cat: Path) -> None:
    open_page.route("**/api/v1/explain", lambda _: None)  # nothing arrives any more
    tick(open_page, "gradcam")
    open_page.click("#compare-start")
    open_page.wait_for_selector("#compare-cancel:visible")
    open_page.unroute_all()
    upload(open_page, data=cat.read_bytes())
    explained(open_page)
    assert open_page.locator("#tiles li").count() == 0
    assert open_page.is_hidden("#compare-cancel")
