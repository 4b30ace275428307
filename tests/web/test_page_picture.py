"""The picture that the page draws by itself: pixel for pixel the overlay of the service, without a request."""

import io
import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from flask.testing import FlaskClient
from page_driving import NOISE, STEP, check_equal, differences, drawn, explained, move, settle, upload, within
from PIL import Image

import camserve
from camserve.catalogue.colormaps import colours
from camserve.images.reading import encode

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOKS: dict[str, tuple[Callable[["Page"], None], dict[str, Any]]] = {
    "as it comes": (lambda page: None, {}),
    "full": (lambda page: move(page, "opacity", 1), {"alpha": 1}),
    "none": (lambda page: move(page, "opacity", 0), {"alpha": 0}),
    "colours": (lambda page: choose(page, "viridis"), {"colormap": "viridis"}),
    "signed": (lambda page: page.check("#signed"), {"signed": True}),
    "straight": (lambda page: page.uncheck("#smooth"), {"smooth": False}),
    "grey": (lambda page: page.check("#grey"), {"grey": True}),
    "boxes": (lambda page: page.check("#boxes"), {"boxes": 0.5}),
}


def choose(page: "Page", colormap: str) -> None:
    page.select_option("#colormap", colormap)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("photograph", ["cat", "noise"])
def test_the_canvas_is_the_overlay(page: "Page", model: camserve.Model, cat: Path, look: str, photograph: str) -> None:
    data = cat.read_bytes() if photograph == "cat" else NOISE
    upload(page, data=data)
    explained(page)
    change, options = LOOKS[look]
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    change(page)
    check_equal(page, model.explain(data).overlay(**options))
    assert [url for url in requests if url.startswith("http") and not url.endswith("forecast")] == []


@pytest.mark.parametrize("kind", ["jpeg", "turned", "clear", "webp"])
def test_every_kind_of_file_is_drawn_as_the_service_reads_it(
    page: "Page", model: camserve.Model, cat: Path, kind: str
) -> None:
    with Image.open(cat) as opened:
        photo = opened.convert("RGB")
    buffer, turn = io.BytesIO(), Image.Exif()
    turn[0x112] = 6
    if kind == "clear":
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    save: dict[str, dict[str, Any]] = {
        "jpeg": {"format": "JPEG"},
        "turned": {"format": "JPEG", "exif": turn},
        "clear": {"format": "PNG"},
        "webp": {"format": "WEBP", "lossless": True},
    }
    photo.save(buffer, **save[kind])
    upload(page, data=buffer.getvalue())
    explained(page)
    check_equal(page, model.explain(buffer.getvalue()).overlay())


def test_the_archive_holds_all_of_it(page: "Page", model: camserve.Model, cat: Path, tmp_path: Path) -> None:
    upload(page, "chelsea.png", cat.read_bytes())
    explained(page)
    page.check("#grey")
    page.click("#take summary")
    with page.expect_download() as download:
        page.click("#archive")
    assert download.value.suggested_filename == "chelsea-why.zip"
    download.value.save_as(tmp_path / "why.zip")
    with zipfile.ZipFile(tmp_path / "why.zip") as packed:
        assert packed.namelist() == ["overlay.png", "heatmap.npy", "maps.npy", "facts.json"]
        assert packed.read("overlay.png") == encode(model.explain(cat).overlay(grey=True), "png")


def test_another_class_and_a_difference_are_drawn_before_the_service_says_a_word(
    page: "Page", model: camserve.Model, cat: Path
) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    found = model.explain(cat)
    first, second = (one.class_index for one in found.top(2))
    page.fill("#expected", found.labels[second])
    page.keyboard.press("Enter")
    page.wait_for_selector("#expectation:visible")
    assert f"you expected {found.labels[second]}, which it ranks number 2" in page.inner_text("#expectation")
    assert "expected was" not in page.inner_text("#warnings")  # which would say it again
    page.route("**/api/v1/explain", lambda _: None)  # from now on no explanation arrives
    page.click("#top li:nth-child(2) button")
    check_equal(page, model.explain(cat, target=second).overlay())
    assert page.inner_text("#for") == found.labels[second]
    page.click("#difference")
    check_equal(page, model.explain(cat, target=f"#{first}-#{second}").overlay(signed=True))
    assert page.inner_text("#low").startswith(f"for {found.labels[second]} ")
    assert page.inner_text("#high").startswith(f"for {found.labels[first]} ")
    page.click("#difference")
    check_equal(page, found.overlay())
    assert page.is_hidden("#busy")


def test_what_sets_a_class_apart_from_all_others_is_drawn_here_too(
    page: "Page", model: camserve.Model, cat: Path
) -> None:
    page.route("**/api/v1/explain", lambda route: route.continue_(url=f"{route.request.url}?quantity=contrast"))
    upload(page, data=cat.read_bytes())
    explained(page)
    found = model.explain(cat, quantity="contrast")
    check_equal(page, found.overlay())
    page.unroute_all()
    page.route("**/api/v1/explain", lambda _: None)
    page.click("#top li:nth-child(2) button")
    check_equal(page, model.explain(cat, target=found.top(2)[1].class_index, quantity="contrast").overlay())


def test_pointing_at_a_class_shows_its_heat_until_one_points_elsewhere(
    page: "Page", model: camserve.Model, cat: Path
) -> None:
    upload(page, data=cat.read_bytes())
    first = explained(page)
    third = model.explain(cat, target=model.explain(cat).top(3)[2].class_index)
    requests: list[str] = []
    page.wait_for_selector("#why:visible")
    page.on("request", lambda request: requests.append(request.url))
    page.hover("#top li:nth-child(3) button")
    check_equal(page, third.overlay())
    assert page.inner_text("#for") == third.class_name
    page.hover("header")
    check_equal(page, model.explain(cat).overlay())
    assert page.inner_text("#for") == first
    page.focus("#target")
    page.keyboard.type(third.class_name)
    page.wait_for_selector("#target-classes [aria-selected=true]")
    check_equal(page, third.overlay())
    page.keyboard.press("Escape")
    check_equal(page, model.explain(cat).overlay())
    assert [url for url in requests if not url.endswith("classes")] == []


@pytest.mark.parametrize("size", ["crop", "448"])
def test_other_sizes_lie_where_they_belong(page: "Page", model: camserve.Model, cat: Path, size: str) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    page.select_option("#size", size)
    page.wait_for_selector("#busy", state="visible")
    explained(page)
    off = differences(page, model.explain(cat, size=size).overlay())
    lines = 0.04 if size == "crop" else 0  # the edge of what was seen is a line, softer by a bit
    assert (off > STEP).mean() <= lines
    assert np.median(off) == 0


@pytest.mark.parametrize("method", ["gradcam", "layercam", "eigencam"])
def test_maps_of_other_methods_are_drawn_alike(page: "Page", model: camserve.Model, cat: Path, method: str) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    page.select_option("#method", method)
    page.wait_for_selector("#busy", state="visible")
    explained(page)
    check_equal(page, model.explain(cat, method=method).overlay())


@pytest.mark.parametrize("level", [0.3, 0.8])
def test_the_outline_lies_where_the_service_draws_it(
    page: "Page", model: camserve.Model, cat: Path, level: float
) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    move(page, "opacity", 0)
    page.check("#contour")
    move(page, "threshold", level)
    plain = np.asarray(model.explain(cat).overlay(alpha=0)).astype(np.int16)
    true = np.asarray(model.explain(cat).overlay(alpha=0, contour=level)).astype(np.int16)
    mine, theirs = (np.abs(one - plain).max(2) > 24 for one in (drawn(page), true))
    assert theirs.any()
    assert within(theirs, mine, 3) > 0.99
    assert within(mine, theirs, 3) > 0.9  # what is hot between two pixels, the service has no pixel of


def test_the_brightest_colour_may_begin_before_the_peak(page: "Page", model: camserve.Model, cat: Path) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    move(page, "clip", 80)
    found = model.explain(cat)
    end = float(np.percentile(found.map[found.map > 0], 80))
    check_equal(page, found.overlay(scale=end))
    assert page.inner_text("#high") == f"\N{GREATER-THAN OR EQUAL TO} {end:.3g} logits"


def test_a_large_photograph_is_drawn_as_a_smaller_copy(page: "Page", model: camserve.Model, cat: Path) -> None:
    with Image.open(cat) as opened:
        large = opened.convert("RGB").resize((1804, 1200))
    upload(page, data=encode(large, "png"))
    explained(page)
    width, height = page.evaluate("[heat.width, heat.height]")
    assert 0.99 * 2**20 < width * height <= 2**20 + 2000
    small = model.explain(encode(large, "png")).overlay().resize((width, height), Image.Resampling.BOX)
    off = differences(page, small)
    assert np.median(off) <= 3
    assert np.percentile(off, 99) <= 24


def test_the_map_and_the_photograph_alone_and_a_slider_between_them(
    page: "Page", model: camserve.Model, cat: Path
) -> None:
    upload(page, data=cat.read_bytes())
    explained(page)
    page.check("#only-map", force=True)
    page.uncheck("#smooth")  # a heatmap has straight lines between its cells
    heat = model.explain(cat).heatmap
    table = np.frombuffer(colours("inferno"), np.uint8).reshape(256, 3).astype(np.int16)
    off = np.abs(drawn(page) - table[(heat * 255 + 0.5).astype(int)]).max(2)
    assert off.max() <= STEP
    page.check("#only-photo", force=True)
    assert page.is_hidden("#heat")
    page.check("#both", force=True)
    assert page.is_visible("#heat")
    move(page, "split", 50)
    assert page.evaluate("getComputedStyle(heat).clipPath") == "inset(0px 0px 0px 50%)"


def test_the_scale_has_numbers_and_two_sides_where_asked(page: "Page", model: camserve.Model) -> None:
    upload(page)
    explained(page)
    grid_map = model.explain(NOISE).map
    settle(page)
    assert page.inner_text(".bar") == f"0\n{grid_map.max():.3g} logits"
    page.select_option("#colormap", "viridis")
    page.check("#signed")
    page.wait_for_selector("#low:has-text('against')")
    end = f"{max(grid_map.max(), -grid_map.min()):.3g}"
    assert page.inner_text(".bar") == f"against \N{MINUS SIGN}{end}\nfor {end} logits"
    assert page.input_value("#colormap") == ""
    page.select_option("#method", "gradcam")
    page.wait_for_selector("#facts:has-text('Grad-CAM at layer')")
    settle(page)
    assert page.inner_text(".bar") == "against\nfor"


def test_the_download_says_what_it_is_below_the_picture(
    page: "Page", model: camserve.Model, cat: Path, tmp_path: Path
) -> None:
    upload(page, "chelsea.png", cat.read_bytes())
    explained(page)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "chelsea-why.png"
    download.value.save_as(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as opened:
        saved = np.asarray(opened.convert("RGB")).astype(np.int16)
    overlay = np.asarray(model.explain(cat).overlay()).astype(np.int16)
    factor = saved.shape[1] // overlay.shape[1]
    below = saved[factor * overlay.shape[0] :]
    assert np.abs(saved[: factor * overlay.shape[0] : factor, ::factor] - overlay).max() <= STEP
    assert (below.min(2) < 64).mean() > 0.01  # letters
    assert len(np.unique(below.reshape(-1, 3), axis=0)) > 200  # the colour bar


def test_the_commands_give_the_same(
    page: "Page", client: FlaskClient, model: camserve.Model, cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, "chelsea.png", cat.read_bytes())
    explained(page)
    page.click("#take summary")
    page.click("#top li:nth-child(3) button")
    page.select_option("#colormap", "batlow")
    page.check("#grey")
    move(page, "opacity", 0.6)
    move(page, "clip", 70)
    found = model.explain(cat, target=model.explain(cat).top(3)[2].class_index)
    overlay = found.overlay(
        colormap="batlow", grey=True, alpha=0.6, scale=float(np.percentile(found.map[found.map > 0], 70))
    )
    check_equal(page, overlay)
    settle(page)
    _, _, file, _, kind, url, *_ = shlex.split(page.input_value("#curl"))
    assert (file, kind) == ("@chelsea.png", "Content-Type: image/png")
    answer = client.post(f"{urlsplit(url).path}?{urlsplit(url).query}", data=cat.read_bytes(), content_type="image/png")
    with Image.open(io.BytesIO(answer.data)) as opened:
        check_equal(page, opened.convert("RGB"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chelsea.png").write_bytes(cat.read_bytes())
    exec(page.input_value("#python"), {})
    with Image.open(tmp_path / "why.png") as opened:
        check_equal(page, opened.convert("RGB"))


def test_a_link_restores_what_was_chosen(page: "Page", address: str) -> None:
    upload(page)
    explained(page)
    page.select_option("#method", "gradcam")
    page.check("#signed")
    move(page, "opacity", 0.4)
    page.wait_for_selector("#by:text-is('Grad-CAM')")
    page.click("#take summary")
    settle(page)
    link = page.input_value("#link")
    assert re.fullmatch(re.escape(address) + r"#[\w=&.]+", link)
    page.goto("about:blank")
    page.goto(link)
    assert page.input_value("#method") == "gradcam"
    assert page.is_checked("#signed")
    assert page.input_value("#opacity") == "0.4"
