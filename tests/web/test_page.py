"""The page at /, in a real browser where there is one, and as a plain form."""

import base64
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import picture
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server

import camserve
from camserve.images.reading import encode
from camserve.methods import METHODS
from camserve.render.overlay import COLORMAPS, SIGNED_COLORMAPS
from camserve.web.app import create_app
from camserve.web.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page

# An overlay is drawn within this time, in milliseconds, however busy the machine is.
PATIENCE = 15000


class Quiet(WSGIRequestHandler):
    """Writes no log of requests."""

    def log(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(service=service), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator["Page"]:
    """The page, freshly opened. Fails the test on any complaint of the browser, the CSP's among them."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
    opened.goto(address)
    yield opened
    context.close()
    assert not complaints


def upload(page: "Page", name: str = "noise.png", data: bytes | None = None) -> None:
    file: Any = {"name": name, "mimeType": "", "buffer": data or encode(picture(), "png")}
    page.set_input_files("#file", [file])


def explained(page: "Page") -> str:
    """The class that the picture is about, once nothing is under way any more."""
    page.wait_for_selector("#answers:visible")
    page.wait_for_selector("#busy", state="hidden")
    return page.inner_text("#top [aria-pressed=true] span")


# ---- in a browser


def test_an_upload_shows_the_overlay_the_classes_and_the_facts(page: "Page", model: camserve.Model) -> None:
    upload(page)
    top = model.explain(encode(picture(), "png")).top()
    assert explained(page) == top[0].class_name
    assert page.locator("#top span").all_inner_texts() == [one.class_name for one in top]
    assert page.locator("#top output").first.inner_text() == f"{100 * top[0].score:.1f} %"
    assert page.inner_text("#facts").startswith("CAM at layer “head” of efficientnet-lite0 · 90")
    assert page.evaluate("[overlay.naturalWidth, overlay.naturalHeight, photo.naturalWidth]") == [90, 70, 90]


def test_another_class_and_method_are_explained_on_choice(page: "Page") -> None:
    upload(page)
    first = explained(page)
    page.click("#top li:nth-child(2) button")
    page.wait_for_selector("#top li:nth-child(2) [aria-pressed=true]")
    assert explained(page) != first
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.select_option("#method", "layercam")
    page.wait_for_selector("#facts:has-text('LayerCAM at layer')")
    page.select_option("#size", "crop")
    page.wait_for_selector("#warnings li:has-text('the rest is marked as unseen')")


def test_the_slider_sets_the_opacity_without_a_request(page: "Page") -> None:
    upload(page)
    explained(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.evaluate("overlay.style.opacity") == "0"
    assert not requests


def test_the_download_is_the_overlay_as_shown(page: "Page", model: camserve.Model, tmp_path: Path) -> None:
    upload(page)
    explained(page)
    page.focus("#opacity")
    page.keyboard.press("End")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "noise-why.png"
    download.value.save_as(tmp_path / "why.png")
    overlay = model.explain(encode(picture(), "png")).overlay(alpha=1)
    assert (tmp_path / "why.png").read_bytes() == encode(overlay, "png")


def test_the_scale_has_numbers_and_two_sides_where_asked(page: "Page", model: camserve.Model) -> None:
    upload(page)
    explained(page)
    grid_map = model.explain(encode(picture(), "png")).map
    assert page.inner_text(".bar") == f"0\n{grid_map.max():.3g} logits"
    page.select_option("#colormap", "viridis")
    page.check("#signed")
    page.wait_for_selector("#low:has-text('against')")
    end = f"{max(grid_map.max(), -grid_map.min()):.3g}"
    assert page.inner_text(".bar") == f"against \N{MINUS SIGN}{end}\nfor {end} logits"
    assert page.input_value("#colormap") == ""
    page.select_option("#method", "gradcam")
    page.wait_for_selector("#facts:has-text('Grad-CAM at layer')")
    assert page.inner_text(".bar") == "against\nfor"


def test_a_click_names_the_classes_of_a_place_and_a_drag_the_share_of_a_region(
    page: "Page", model: camserve.Model
) -> None:
    upload(page)
    explained(page)
    explanation, frame = model.explain(encode(picture(), "png")), page.locator("#frame").bounding_box()
    assert frame is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return frame["x"] + frame["width"] * x, frame["y"] + frame["height"] * y

    page.mouse.click(*at(0.5, 0.25))
    page.wait_for_selector(
        f"#place:has-text('At 45, 17 the photograph speaks for {explanation.at(45, 17)[0].class_name}')"
    )
    assert page.is_visible("#mark")
    page.mouse.move(*at(0.001, 0.307))
    page.mouse.down()
    page.mouse.move(*at(0.499, 0.999), steps=3)
    page.mouse.up()
    page.wait_for_selector("#place:has-text('This region gives')")
    numbers = re.findall(r"-?[\d.]+\d", page.inner_text("#place").replace("\N{MINUS SIGN}", "-"))
    shares = explanation.share((0, 21, 45, 70)), explanation.share((0, 0, 90, 70))
    assert [float(number) for number in numbers] == [float(f"{share:.3g}") for share in shares]
    page.click("#top li:nth-child(2) button")
    page.wait_for_selector("#place:has-text('Click a place')")
    assert page.is_hidden("#mark")


def test_what_is_no_image_is_said_in_words_and_the_next_upload_works(page: "Page") -> None:
    upload(page, "notes.jpg", b"this is no picture\n" * 9)
    page.wait_for_selector("#problem:visible")
    assert "'notes.jpg'" in page.inner_text("#problem")
    assert page.is_visible("#drop")
    assert page.is_hidden("#again")
    upload(page)
    explained(page)
    assert page.is_hidden("#problem")


def test_a_mistyped_class_is_answered_with_what_is_close(page: "Page") -> None:
    upload(page)
    explained(page)
    page.fill("#target", "Egyptian cart")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:has-text(\"did you mean 'Egyptian cat'\")")


def test_a_photograph_the_browser_cannot_show_is_shown_all_the_same(page: "Page") -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "TIFF")
    upload(page, "scan.tif", buffer.getvalue())
    explained(page)
    assert page.evaluate("photo.naturalWidth") == 90


def test_a_photograph_may_be_dropped_or_pasted(page: "Page") -> None:
    script = """async (kind) => {
        const canvas = new OffscreenCanvas(90, 70);
        canvas.getContext("2d").fillRect(20, 20, 40, 40);
        const data = new DataTransfer();
        data.items.add(new File([await canvas.convertToBlob()], `${kind}.png`, { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, bubbles: true })
            : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(script, kind)
        explained(page)
        page.reload()


def test_the_page_fits_a_phone(page: "Page") -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    upload(page)
    explained(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_all_is_reached_by_keyboard(page: "Page") -> None:
    upload(page)
    explained(page)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"opacity", "another", "download", "method", "size", "colormap", "target", "BUTTON"} <= set(reached)


# ---- as a plain form


def submit(client: FlaskClient, **fields: Any) -> str:
    return client.post("/", data=fields, content_type="multipart/form-data").text


def test_the_menus_come_from_the_registries(client: FlaskClient) -> None:
    html = client.get("/", headers={"Accept": "text/html"}).text
    for method in METHODS.values():
        assert f'<option value="{method.name}"' in html
        assert f">{method.title}</option>" in html
    for colormap in (*COLORMAPS, *SIGNED_COLORMAPS):
        assert f'<option value="{colormap}" data-stops="#' in html
    assert "up to 25 MiB" in " ".join(html.split())


def test_the_form_works_without_scripts(client: FlaskClient, model: camserve.Model) -> None:
    photo = encode(picture(), "png")
    html = submit(client, image=(io.BytesIO(photo), "noise.png"), method="gradcam", target="", size="fit")
    assert 'src="data:image/jpeg;base64,' in html
    assert model.explain(photo).class_name in html
    assert "gradcam at layer head of efficientnet-lite0" in html
    assert '<option value="gradcam" data-summary="feature maps weighted by their mean gradient" selected>' in html


def test_the_form_draws_signed_colours_without_scripts(client: FlaskClient, model: camserve.Model) -> None:
    photo = encode(picture(), "png")
    html = submit(client, image=(io.BytesIO(photo), "noise.png"), signed="on", colormap="")
    overlay = encode(model.explain(photo).overlay(signed=True), "jpeg", quality=model.settings.render.quality)
    assert base64.b64encode(overlay).decode() in html
    assert re.search(r'name="signed" value="on" checked', html)


def test_the_form_says_what_is_wrong(client: FlaskClient) -> None:
    response = client.post("/", data={"image": (io.BytesIO(), "")}, content_type="multipart/form-data")
    assert response.status_code == 400
    assert "the form has no image" in response.text
    hostile = submit(client, image=(io.BytesIO(b"text" * 9), "<b>.jpg"))
    assert "&lt;b&gt;.jpg" in hostile
    assert "<b>.jpg" not in hostile


def test_the_icon_and_the_files_of_the_page_are_served(client: FlaskClient) -> None:
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        response = client.get(f"/static/{name}")
        assert response.content_type.startswith(kind)
        response.close()
