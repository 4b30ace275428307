"""The page at /, in a real browser where there is one, and as a plain form."""

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pytest
from conftest import picture
from flask.testing import FlaskClient
from page_driving import explained, forecast, stepwise, upload
from PIL import Image

import camserve
from camserve.images.reading import encode
from camserve.methods import METHODS
from camserve.render.overlay import COLORMAPS, SIGNED_COLORMAPS
from camserve.web.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page

# ---- in a browser


def test_an_upload_shows_the_overlay_the_classes_and_the_facts(page: "Page", model: camserve.Model) -> None:
    upload(page)
    top = model.explain(encode(picture(), "png")).top()
    assert explained(page) == top[0].class_name
    assert page.locator("#top span").all_inner_texts() == [one.class_name for one in top]
    assert page.locator("#top output").first.inner_text() == f"{100 * top[0].score:.1f} %"
    assert page.inner_text("#facts").startswith("CAM at layer “head” of efficientnet-lite0 · 90")
    assert page.evaluate("[heat.width, heat.height, photo.naturalWidth]") == [90, 70, 90]


def test_the_score_for_the_map_s_input_stands_beside_the_answer(page: "Page", model: camserve.Model) -> None:
    upload(page)
    found = model.explain(encode(picture(), "png"))
    assert found.own_logits is not None
    explained(page)
    exact = np.exp(found.logits.astype(np.float64))
    score = float(exact[found.class_index] / exact.sum())
    assert found.input_score == pytest.approx(score, rel=1e-5)
    assert page.inner_text("#own output") == f"{100 * score:.1f} %"
    assert page.inner_text("#own b") == found.class_name
    page.fill("#expected", found.top(2)[1].class_name)
    page.keyboard.press("Enter")
    page.click("#difference")
    page.wait_for_selector("#own", state="hidden")  # a difference has no score
    page.click("#difference")
    page.wait_for_selector("#own:visible")
    page.click("#explain-own")  # then the map explains the model's own part, and there is one score
    page.wait_for_selector("#own", state="hidden")
    assert page.input_value("#size") == "crop"
    assert camserve.load().explain(encode(picture(), "png"), size="crop").input_score == pytest.approx(found.score)


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


def names_found(page: "Page", text: str) -> list[str]:
    page.fill("#target", text)
    page.wait_for_selector("#target-classes li >> nth=0")
    return page.locator("#target-classes li span").all_inner_texts()


def test_a_class_is_found_by_any_part_of_its_name_and_taken_by_keyboard(page: "Page") -> None:
    upload(page)
    explained(page)
    assert names_found(page, "cat")[:2] == ["tiger cat", "Persian cat"]  # before catamaran, which begins with it
    assert "polecat" in names_found(page, "LEC")
    assert names_found(page, "dog sled") == ["dogsled"]
    assert page.inner_text("#target-found") == "1 of 1000 classes"
    names_found(page, "retriever")
    assert page.get_attribute("#target", "aria-expanded") == "true"
    assert page.inner_text("#target-classes [aria-selected=true]") == page.inner_text("#target-classes li:first-child")
    page.keyboard.press("ArrowDown")
    second = page.inner_text("#target-classes li:nth-child(2) span")
    assert page.get_attribute("#target", "aria-activedescendant") == page.get_attribute(
        "#target-classes li:nth-child(2)", "id"
    )
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # from the first to the last
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#for:text-is('{second}')")
    assert (explained(page), page.input_value("#target")) == (second, second)
    assert page.is_hidden("#target-classes")


def test_the_list_of_classes_closes_by_escape_and_opens_again(page: "Page") -> None:
    upload(page)
    first = explained(page)
    page.click("#target")
    page.wait_for_selector("#target-classes li >> nth=49")
    assert page.inner_text("#target-found") == "1000 classes; type part of a name"
    page.keyboard.press("Escape")
    assert page.is_hidden("#target-classes")
    assert page.get_attribute("#target", "aria-expanded") == "false"
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#target-classes:visible")
    page.click("#target-classes li:nth-child(3)")
    page.wait_for_selector(f"#for:text-is('{page.locator('#top span').nth(2).inner_text()}')")
    page.fill("#target", "")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#for:text-is('{first}')")


def test_two_classes_of_one_name_are_told_apart(page: "Page", model: camserve.Model) -> None:
    labels = ["crane" if index == 134 else label for index, label in enumerate(model.labels)]
    page.route("**/classes", lambda route: route.fulfill(json={"model": "", "classes": labels}))
    upload(page)
    explained(page)
    assert names_found(page, "crane")[:2] == ["crane (number 134)", "crane (number 517)"]
    with page.expect_request("**/api/v1/explain") as asked:
        page.click("#target-classes li:nth-child(2)")
    assert '"target"\r\n\r\n#517\r\n' in (asked.value.post_data_buffer or b"").decode("latin-1")
    assert explained(page) == model.labels[517]


def test_what_cannot_be_run_is_closed_and_the_reason_is_there(page: "Page") -> None:
    forecast(page, sscam=5400.0)
    upload(page)
    explained(page)
    page.wait_for_selector("#why:visible")
    option = "#method option[value={}]"
    assert page.is_disabled(option.format("legrad"))
    assert page.inner_text(option.format("legrad")) == "LeGrad · not for this model"
    assert page.is_disabled(option.format("sscam"))
    assert re.fullmatch(r"SS-CAM · about \d+ (s|min)", page.inner_text(option.format("sscam")))
    assert not page.is_disabled(option.format("gradcam"))
    assert page.inner_text(option.format("gradcam")) == "Grad-CAM"
    page.click("#why summary")
    reasons = page.locator("#why li").all_inner_texts()
    assert page.inner_text("#why summary") == f"Why {len(reasons)} methods cannot be chosen"
    (legrad,) = (one for one in reasons if one.startswith("LeGrad: "))
    assert "no attention layers" in legrad
    (sscam,) = (one for one in reasons if one.startswith("SS-CAM: "))
    assert sscam.endswith("on this photograph; the limit is 900 s")


def test_what_takes_longer_than_an_answer_may_runs_as_a_job(
    page: "Page", service: Service, model: camserve.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = stepwise(monkeypatch)
    forecast(page, groupcam=45.0)
    upload(page)
    first = explained(page)
    page.wait_for_selector("#why:visible")
    option = "#method option[value=groupcam]"
    assert (page.inner_text(option), page.is_disabled(option)) == ("Group-CAM · about 45 s", False)
    page.select_option("#method", "groupcam")
    page.wait_for_selector("body.cleared")
    assert page.is_hidden("#heat")
    go_on.release()
    page.wait_for_selector("#progress:visible")
    page.wait_for_function("() => progress.value > 0")
    before = page.evaluate("progress.position")
    go_on.release()
    page.wait_for_function("before => progress.position > before", arg=before)
    assert page.is_hidden("#heat")  # of another method
    assert page.inner_text("#doing") == "Explaining with Group-CAM …"
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as ended:
        page.click("#cancel")
    assert ended.value.status == 200
    page.wait_for_selector("#busy", state="hidden")
    assert (page.input_value("#method"), page.inner_text("#for"), page.inner_text("#by")) == ("auto", first, "CAM")
    assert page.is_visible("#heat")
    go_on.release(10_000)
    with page.expect_response(lambda answer: answer.url.endswith("/result")) as result:
        page.select_option("#method", "groupcam")
    page.wait_for_selector("#by:text-is('Group-CAM')")
    assert explained(page) == first
    assert page.is_visible("#heat")
    assert page.is_hidden("#progress")
    assert result.value.json()["map"] == model.explain(encode(picture(), "png"), method="groupcam").map.tolist()
    counts = service.jobs.counts()
    assert (counts["done"], counts["cancelled"], service.jobs.active) == (1, 1, 0)


def hold(page: "Page") -> None:
    """From now on no explanation arrives."""
    page.route("**/api/v1/explain", lambda _: None)


def test_what_turns_out_to_take_too_long_becomes_a_job(page: "Page") -> None:
    upload(page)
    explained(page)
    said = {"status": 422, "code": "too_long", "detail": "LayerCAM takes about 95 s"}
    page.route("**/api/v1/explain", lambda route: route.fulfill(status=422, json=said))
    page.select_option("#method", "layercam")
    page.wait_for_selector("#by:text-is('LayerCAM')")
    assert page.is_visible("#heat")
    assert page.is_hidden("#problem")


def test_a_job_that_fails_says_why(page: "Page", service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    forecast(page, groupcam=45.0)
    upload(page)
    explained(page)
    page.wait_for_selector("#why:visible")
    hurried = service.settings.serve.model_copy(update={"job_seconds": 0.001})
    monkeypatch.setattr(service.jobs, "_settings", hurried)
    page.select_option("#size", "320")
    explained(page)
    page.select_option("#method", "groupcam")
    page.wait_for_selector("#problem:visible")
    said = page.inner_text("#problem-text")
    assert "it was not started" in said or said == "The job did not end within 0.001 s."
    assert service.jobs.counts()["failed"] > 0
    assert page.is_hidden("#heat")


def test_no_old_picture_stays_while_another_is_made_and_cancel_brings_it_back(page: "Page") -> None:
    upload(page)
    first = explained(page)
    hold(page)
    page.select_option("#method", "layercam")
    page.wait_for_selector("body.cleared")
    assert page.is_hidden("#heat")
    assert page.is_hidden("#facts")
    assert page.is_hidden(".scale")
    assert page.is_disabled("#download")
    assert page.is_visible("#photo")
    page.wait_for_selector("#elapsed:has-text('1 s')")
    assert page.inner_text("#doing") == "Explaining with LayerCAM …"
    page.keyboard.press("Escape")
    page.wait_for_selector("#busy", state="hidden")
    assert page.is_visible("#heat")
    assert page.input_value("#method") == "auto"
    assert (page.inner_text("#for"), page.inner_text("#by")) == (first, "CAM")
    assert not page.is_disabled("#download")


def test_cancel_before_the_first_answer_leaves_the_photograph(page: "Page") -> None:
    hold(page)
    upload(page)
    page.click("#cancel")
    page.wait_for_selector("#problem:has-text('Stopped.')")
    assert page.is_hidden("#heat")
    assert page.is_visible("#photo")
    page.unroute("**/api/v1/explain")
    page.click("#again")
    assert explained(page)
    assert page.is_visible("#heat")


def test_an_error_leaves_no_old_picture_and_speaks_of_no_settings(page: "Page") -> None:
    upload(page)
    explained(page)
    said = {"status": 504, "code": "deadline_passed", "detail": "no answer within 30 s (serve.deadline_seconds)"}
    asked = re.compile("/api/v1/(explain|jobs)$")
    page.route(asked, lambda route: route.fulfill(status=504, json=said))
    page.select_option("#method", "layercam")
    page.wait_for_selector("#problem:has-text('There was no answer within 30')")
    assert page.inner_text("#problem-text").endswith("Choose a faster method than LayerCAM or a smaller size.")
    assert page.is_hidden("#heat")
    assert page.locator("#top [aria-pressed=true]").count() == 0
    other = {"status": 422, "code": "too_long", "detail": "RISE takes about 95 s (serve.deadline_seconds); so"}
    page.route(asked, lambda route: route.fulfill(status=422, json=other))
    page.select_option("#method", "gradcam")
    page.wait_for_selector("#problem:has-text('RISE takes about 95 s; so')")
    page.unroute_all()
    page.select_option("#method", "hirescam")
    page.wait_for_selector("#by:text-is('HiResCAM')")
    assert page.is_visible("#heat")
    assert page.is_hidden("#problem")


def test_a_photograph_of_few_pixels_is_drawn_large_with_a_legible_scale(page: "Page") -> None:
    upload(page, data=encode(picture(size=(32, 24)), "png"))
    explained(page)
    frame = page.locator("#frame").bounding_box()
    assert frame is not None
    assert frame["width"] >= 300
    assert frame["height"] == pytest.approx(frame["width"] * 24 / 32, abs=1)
    assert page.evaluate("getComputedStyle(photo).imageRendering") == "pixelated"
    bar = page.locator("#figure .bar").bounding_box()
    assert bar is not None
    assert bar["width"] >= 200
    assert page.inner_text("#high").endswith("logits")


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
    assert "what an image classifier says about a photograph" in page.inner_text("#drop p >> nth=0")
    upload(page)
    explained(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("split.getBoundingClientRect().width") >= 120


def test_an_example_is_explained_at_a_click(page: "Page") -> None:
    page.click("#examples button >> nth=0")
    assert explained(page) == "Egyptian cat"
    assert page.evaluate("photo.naturalWidth") == 451


def test_several_photographs_are_gone_through(page: "Page") -> None:
    files = [
        {"name": f"{seed}.png", "mimeType": "image/png", "buffer": encode(picture(seed), "png")} for seed in (0, 1)
    ]
    page.set_input_files("#file", cast(Any, files))
    first = explained(page)
    assert page.inner_text("#which") == "1 of 2: 0.png"
    page.click("#next")
    page.wait_for_selector("#which:text-is('2 of 2: 1.png')")
    page.wait_for_selector("#answers:visible")
    page.click("#next")
    page.wait_for_selector("#which:text-is('1 of 2: 0.png')")
    assert explained(page) == first


def test_what_all_places_add_up_to_is_said_in_words(page: "Page", model: camserve.Model) -> None:
    upload(page)
    explained(page)
    found = model.explain(encode(picture(), "png"))
    page.click(".words summary")
    numbers = re.findall(r"-?[\d.]+\d", page.inner_text("#sum").replace("\N{MINUS SIGN}", "-"))
    expected = found.share((0, 0, 90, 70)), found.bias, found.logit
    assert [float(number) for number in numbers] == [float(f"{number:.3g}") for number in expected]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_people_in_any_state(page: "Page", cat: Path, scheme: Literal["light", "dark"]) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="no axe-core-python").Axe()

    def check() -> None:
        found = axe.run(page)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []

    page.emulate_media(color_scheme=scheme)
    check()
    upload(page, data=cat.read_bytes())
    explained(page)
    page.wait_for_selector("#why:visible")
    check()
    for details in page.query_selector_all("details summary"):
        details.click()
    page.click("#closer")
    page.click("#side-by-side")
    for name in ("cam", "eigencam"):
        page.check(f"#chooser [value={name}]")
    page.click("#compare-start")
    page.wait_for_selector("#compare-said:text-is('Done.')")
    page.fill("#expected", "tabby")
    page.keyboard.press("Enter")
    page.wait_for_selector("#expectation:visible")
    page.click("#difference")
    names_found(page, "retriever")
    check()
    page.keyboard.press("Escape")
    page.fill("#target", "Egyptian cart")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:visible")
    check()


def test_all_is_reached_by_keyboard(page: "Page") -> None:
    upload(page)
    explained(page)
    page.check("#contour")
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(48):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {
        "frame",
        "both",
        "closer",
        "smooth",
        "side-by-side",
        "split",
        "expected",
        "threshold",
        "clip",
        "grey",
        "opacity",
        "another",
        "download",
        "method",
        "size",
        "colormap",
        "target",
        "BUTTON",
    } <= set(reached)


# ---- as a plain form


def test_without_scripts_nothing_is_there_that_needs_them(browser: Any, address: str, cat: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(address)
    page.set_input_files("#file", str(cat))
    page.check("#grey")
    page.click("#submit")
    page.wait_for_selector("#overlay:visible")
    for one in ("#examples", "#opacity", "#split", "#heat", "#place", "#take", "#download", "#clip"):
        assert page.is_hidden(one), one
    assert page.is_checked("#grey")
    page.close()


def submit(client: FlaskClient, **fields: Any) -> str:
    return client.post("/", data=fields, content_type="multipart/form-data").text


def test_the_menus_come_from_the_registries(client: FlaskClient) -> None:
    html = client.get("/", headers={"Accept": "text/html"}).text
    for method in METHODS.values():
        assert f'<option value="{method.name}"' in html
        assert f">{method.title}</option>" in html
    assert html.index('<optgroup label="Attention">') < html.index('value="legrad"')
    assert "Blue to red</option>" in html
    assert "turned" not in html
    for colormap in (*COLORMAPS, *SIGNED_COLORMAPS):
        assert f'<option value="{colormap}" data-colours="' in html
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


def test_the_form_s_errors_speak_of_no_settings(client: FlaskClient) -> None:
    huge = submit(client, image=(io.BytesIO(encode(Image.new("L", (8000, 6300)), "png")), "huge.png"))
    assert "allowed are 50." in huge
    assert "limits." not in huge


def test_the_form_draws_a_small_photograph_large(client: FlaskClient) -> None:
    for side, small in ((32, True), (200, False)):
        html = submit(client, image=(io.BytesIO(encode(picture(size=(side, side)), "png")), "a.png"))
        assert ('id="frame" class="small"' in html) == small


def test_the_icon_and_the_files_of_the_page_are_served(client: FlaskClient) -> None:
    static = Path(camserve.__file__).parent / "web" / "static"
    scripts = {path.relative_to(static).as_posix(): "text/javascript" for path in static.rglob("*.js")}
    others = {"page.css": "text/css", "compare.css": "text/css", "icon.svg": "image/svg+xml"}
    for name, kind in (scripts | others).items():
        response = client.get(f"/static/{name}")
        assert response.content_type.startswith(kind)
        response.close()
