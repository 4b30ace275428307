"""The HTTP service: its dialect, its errors row by row, and the real server as a process of its own."""

import base64
import collections
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from conftest import Answer, picture
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

import camserve
from camserve.config import load_settings
from camserve.errors import ConfigError, ModelError, ModelNotFound
from camserve.images.reading import encode
from camserve.methods import METHODS
from camserve.web import responses
from camserve.web.app import create_app
from camserve.web.request_options import make_options, parse_options
from camserve.web.request_record import Record
from camserve.web.responses import header_safe
from camserve.web.server.load_shedding import refused
from camserve.web.server.serve import open_socket, serve
from camserve.web.service import Service

EXPLAIN = "/api/v1/explain"
PNG = encode(picture(), "png")
MEMBERS = {"type", "title", "status", "detail", "error", "code", "request_id"}


def post(client: FlaskClient, query: str = "", data: bytes = PNG, **more: Any) -> TestResponse:
    return client.post(f"{EXPLAIN}?{query}", data=data, **{"content_type": "image/png", **more})


def post_form(client: FlaskClient, **fields: Any) -> TestResponse:
    return client.post(EXPLAIN, data=fields, content_type="multipart/form-data")


def asks(kind: str) -> dict[str, Any]:
    return {"headers": {"Accept": kind}}


def check_problem(response: TestResponse, status: int, code: str, said: str) -> None:
    """As `check_problem_body`, and declared as RFC 9457 has it."""
    assert response.content_type == "application/problem+json"
    check_problem_body(response, status, code, said)


def check_problem_body(response: TestResponse, status: int, code: str, said: str) -> None:
    """The answer has that status and code, says `said`, and has every member of the contract."""
    body = json.loads(response.data)
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert said in body["detail"]
    assert body["error"] == body["detail"]
    assert set(body) == MEMBERS
    assert body["request_id"] == response.headers["X-Request-Id"]


# ---- answers


def test_the_overlay_is_a_png_of_the_photograph_s_size_with_the_facts_in_headers(client: FlaskClient) -> None:
    response = post(client)
    assert (response.status_code, response.content_type) == (200, "image/png")
    assert Image.open(io.BytesIO(response.data)).size == (90, 70)
    headers = response.headers
    assert headers["X-Cam-Method"] == "cam"
    assert headers["X-Cam-Layer"] == "head"
    assert 0 < float(headers["X-Cam-Score"]) <= 1
    assert headers["X-Cam-Warnings"] == "2"  # another class on the whole photograph, and a low score
    steps = ", ".join(rf"{one};dur=[\d.]+" for one in ("queue", "decode", "forward", "method", "render", "encode"))
    assert re.fullmatch(steps, headers["Server-Timing"])


def test_raw_and_form_uploads_and_python_give_the_same_picture(client: FlaskClient, model: camserve.Model) -> None:
    raw = post(client, "method=layercam&alpha=0.5&colormap=viridis")
    fields = {"method": "layercam", "alpha": "0.5", "colormap": "viridis", "target": ""}
    form = post_form(client, image=(io.BytesIO(PNG), "noise.png"), **fields)
    overlay = model.explain(PNG, method="layercam").overlay(alpha=0.5, colormap="viridis")
    assert raw.data == form.data == encode(overlay, "png")


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/x-whatever", None])
def test_a_raw_body_may_be_declared_loosely(client: FlaskClient, kind: str | None) -> None:
    assert post(client, content_type=kind).status_code == 200


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("*/*", "", "image/png"),
        ("image/*", "", "image/png"),
        ("*/*", "format=webp", "image/webp"),
        ("image/jpeg", "", "image/jpeg"),
        ("image/jpeg;q=0.5, image/webp", "", "image/webp"),
        ("application/json, text/plain, */*", "", "application/json"),
        ("application/x-npy", "", "application/x-npy"),
        ("application/zip", "", "application/zip"),
    ],
)
def test_accept_chooses_the_kind_of_answer(client: FlaskClient, accept: str, query: str, kind: str) -> None:
    response = post(client, query, **asks(accept))
    assert (response.status_code, response.content_type) == (200, kind)
    assert response.headers["Vary"] == "Accept"


def test_json_holds_the_map_bit_for_bit(client: FlaskClient, model: camserve.Model) -> None:
    body = post(client, "target=207", **asks("application/json")).get_json()
    explanation = model.explain(PNG, target=207)
    assert np.array_equal(np.array(body["map"], np.float32), explanation.map)
    assert body == json.loads(json.dumps(explanation.to_dict()))


def test_a_difference_is_given_with_its_value_and_without_a_score(client: FlaskClient, model: camserve.Model) -> None:
    made = model.explain(PNG, target="281-282")
    headers = post(client, "target=281-282").headers
    assert ("X-Cam-Score" in headers, headers["X-Cam-Value"]) == (False, repr(made.value))
    facts = post(client, "target=281-282", headers={"Accept": "application/json"}).get_json()
    assert (facts["score"], facts["target"]["value"], facts["logit"]) == (None, made.value, made.logit)


def test_the_expected_class_is_an_option(client: FlaskClient, model: camserve.Model) -> None:
    query = "target=predicted-expected&expected=tench"
    facts = post(client, query, headers={"Accept": "application/json"}).get_json()
    made = model.explain(PNG, target="predicted-expected", expected="tench")
    for key in ("expected", "target", "warnings"):
        assert facts[key] == json.loads(json.dumps(made.to_dict()[key]))
    assert facts["expected"]["class_index"] == 0
    other = post(client, "target=predicted-expected&expected=goldfish", headers={"Accept": "application/json"})
    assert other.get_json()["expected"]["class_index"] == 1  # not what is kept of the first
    refused = post(client, "target=expected")
    assert (refused.status_code, "give expected" in refused.get_json(force=True)["detail"]) == (400, True)


def test_json_carries_the_outputs_asked_for(client: FlaskClient, model: camserve.Model) -> None:
    query = "outputs=overlay,heatmap,mask&format=webp&threshold=0.7&top_k=2"
    body = post(client, query, **asks("application/json")).get_json()
    files = {name: io.BytesIO(base64.b64decode(one["b64"])) for name, one in body["outputs"].items()}
    explanation = model.explain(PNG)
    assert body["outputs"]["overlay"]["content_type"] == "image/webp"
    assert Image.open(files["overlay"]).format == "WEBP"
    assert body["outputs"]["heatmap"]["shape"] == [70, 90]
    heatmap = np.load(files["heatmap"])
    assert np.array_equal(heatmap, explanation.heatmap)
    assert np.array_equal(np.asarray(Image.open(files["mask"])) == 255, heatmap >= 0.7)
    assert (body["threshold"], len(body["top"])) == (0.7, 2)
    assert body["boxes"] == [vars(box) for box in explanation.boxes(0.7)]


def test_the_maps_of_all_classes_add_up_to_the_logits(client: FlaskClient, model: camserve.Model) -> None:
    body = post(client, "outputs=maps&target=3&top_k=1000", **asks("application/json")).get_json()
    about = body["outputs"]["maps"]
    maps = np.load(io.BytesIO(base64.b64decode(about["b64"])))
    explanation = model.explain(PNG, target=3)
    assert list(maps.shape) == about["shape"] == [1000, *explanation.map.shape]
    assert maps.dtype == np.float32
    assert about["classes"][:2] == [3, model.explain(PNG).class_index]  # the explained one, then the best
    assert sorted(about["classes"]) == list(range(1000))
    assert np.allclose(maps[0], explanation.map, atol=1e-4)
    logits = maps.mean((1, 2)) + np.array(about["bias"])
    assert np.allclose(logits, explanation.logits[about["classes"]], atol=1e-3)
    assert about["placement"] == body["provenance"]["placement"]
    field, (across, down) = body["receptive_field"], explanation.receptive_fields or pytest.fail("there is one")
    assert (field["first"], field["last"]) == ([across.x.first, down.y.first], [across.x.last, down.y.last])
    with zipfile.ZipFile(io.BytesIO(post(client, "outputs=maps", **asks("application/zip")).data)) as archive:
        assert archive.namelist() == ["maps.npy", "facts.json"]


def test_so_many_maps_are_given_as_are_allowed(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MOST_NUMBERS", 700)
    body = post(client, "outputs=maps&target=3", **asks("application/json")).get_json()
    about = body["outputs"]["maps"]
    assert about["classes"][:2] == [3, body["top"][0]["class_index"]]
    count, height, width = about["shape"]
    assert len(about["classes"]) == count == 700 // (height * width)


def test_where_places_do_not_add_up_the_reason_stands_for_the_maps(client: FlaskClient, model: camserve.Model) -> None:
    query = f"outputs=maps&method=gradcam&layer={list(model.layers())[-3]}"
    about = post(client, query, **asks("application/json")).get_json()["outputs"]["maps"]
    assert list(about) == ["reason"]
    assert about["reason"].startswith("what a place adds to a logit is known only if")
    with zipfile.ZipFile(io.BytesIO(post(client, query, **asks("application/zip")).data)) as archive:
        assert archive.namelist() == ["facts.json"]
        assert json.loads(archive.read("facts.json"))["outputs"] == {"maps": about}


def test_the_npy_answer_is_the_heatmap(client: FlaskClient, model: camserve.Model) -> None:
    heatmap = np.load(io.BytesIO(post(client, **asks("application/x-npy")).data))
    assert heatmap.dtype == np.float32
    assert np.array_equal(heatmap, model.explain(PNG).heatmap)


def test_the_archive_holds_what_the_other_answers_are(client: FlaskClient) -> None:
    response = post(client, "format=jpeg", **asks("application/zip"))
    assert post(client, "format=jpeg", **asks("application/zip")).data == response.data
    with zipfile.ZipFile(io.BytesIO(response.data)) as archive:
        assert archive.testzip() is None
        held = {one.filename: archive.read(one) for one in archive.infolist()}
        assert {one.external_attr >> 16 for one in archive.infolist()} == {0o644}
    assert list(held) == ["overlay.jpeg", "heatmap.npy", "facts.json"]
    assert held["overlay.jpeg"] == post(client, **asks("image/jpeg")).data
    assert held["heatmap.npy"] == post(client, **asks("application/x-npy")).data
    facts = json.loads(held["facts.json"])
    about = facts.pop("outputs")
    assert about["overlay"] == {"file": "overlay.jpeg", "content_type": "image/jpeg"}
    assert about["heatmap"] == {"file": "heatmap.npy", "shape": [70, 90], "datatype": "FP32", "encoding": "npy"}
    assert facts == post(client, **asks("application/json")).get_json()
    chosen = post(client, "outputs=mask", **asks("application/zip"))
    with zipfile.ZipFile(io.BytesIO(chosen.data)) as archive:
        assert archive.namelist() == ["mask.png", "facts.json"]


def test_outline_boxes_and_legend_are_drawn_on_request(client: FlaskClient, model: camserve.Model) -> None:
    drawn = post(client, "contour=on&boxes=0.8&legend=true&threshold=0.6").data
    overlay = model.explain(PNG).overlay(contour=0.6, boxes=0.8, legend=True)
    assert drawn == encode(overlay, "png")


def test_json_answers_for_places_and_regions(client: FlaskClient, model: camserve.Model) -> None:
    query = "at=20,30;0,0&region=0,0,45,70;45,0,90,70&polygons=on&threshold=0.6&top_k=2"
    body = post(client, query, **asks("application/json")).get_json()
    explanation = model.explain(PNG)
    votes = [[vote["class_index"] for vote in place["votes"]] for place in body["places"]]
    assert votes == [[vote.class_index for vote in explanation.at(*place, 2)] for place in ((20, 30), (0, 0))]
    assert body["regions"][0]["logits"] == explanation.share((0, 0, 45, 70))
    assert sum(region["logits"] for region in body["regions"]) == pytest.approx(body["regions"][0]["of"], rel=1e-9)
    assert [one["rings"] for one in body["polygons"]] == [one.rings for one in explanation.polygons(0.6)]
    assert not {"places", "regions", "polygons"} & set(post(client, **asks("application/json")).get_json())


def test_signed_colours_and_scales_are_drawn_on_request(client: FlaskClient, model: camserve.Model) -> None:
    drawn = post(client, "signed=on&scale=12.5&legend=on").data
    assert drawn == encode(model.explain(PNG).overlay(signed=True, scale=12.5, legend=True), "png")
    assert post(client, **asks("application/json")).get_json()["unit"] == "logits"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("scale=0", "scale '0': should be greater than 0"),
        ("scale=inf", "scale 'inf': should be a finite number"),
        ("signed=perhaps", "signed 'perhaps': allowed are on and off"),
        ("signed=on&sharp=on", "signed and scale need one raw map"),
    ],
)
def test_400_of_scales(client: FlaskClient, query: str, said: str) -> None:
    check_problem(post(client, query), 400, "bad_option", said)


def test_numbers_that_are_not_finite_become_null(
    client: FlaskClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = service.model().explain(PNG)
    made.map[0, 0] = np.nan
    monkeypatch.setattr(Service, "explain", lambda *_, **__: made)
    assert post(client, **asks("application/json")).get_json()["map"][0][0] is None


def test_class_names_are_safe_in_headers() -> None:
    assert header_safe("Egyptian cat") == "Egyptian cat"
    assert header_safe("100% 猫\r\n") == "100%25 %E7%8C%AB%0D%0A"
    assert unquote(header_safe("100% 猫\r\n")) == "100% 猫\r\n"


def test_request_ids_are_echoed_where_they_are_sane(client: FlaskClient) -> None:
    def answered(given: str) -> str:
        return client.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert answered("job-7/42") == "job-7/42"
    for hostile in ("", "two words", "x" * 129, "a\tb", "é"):
        assert re.fullmatch("[0-9a-f]{32}", answered(hostile))


# ---- lists and health


def test_models_methods_and_layers_are_listed(client: FlaskClient) -> None:
    models = client.get("/api/v1/models").get_json()["models"]
    first = models[0]
    assert (first["name"], first["default"], first["loaded"], first["available"]) == (
        "efficientnet-lite0", True, True, True,
    )  # fmt: skip
    assert [m["name"] for m in client.get("/api/v1/methods").get_json()["methods"]] == ["auto", *METHODS]
    layers = client.get("/api/v1/models/efficientnet-lite0/layers").get_json()
    assert layers["default"] == "head"
    assert layers["layers"].index("stem") < layers["layers"].index("head")
    early = layers["layers"][-3]
    assert post(client, f"layer={early}").headers["X-Cam-Layer"] == early


def test_slashes_at_the_end_do_not_matter(client: FlaskClient) -> None:
    assert client.get("/api/v1/models/").status_code == client.get("/livez/").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_a_loaded_service_is_well(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_root_is_a_page_for_browsers_and_json_for_others(client: FlaskClient) -> None:
    assert client.get("/").get_json() == {"status": "alive"}
    assert client.get("/", headers={"Accept": "*/*"}).get_json() == {"status": "alive"}
    html = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert html.content_type == "text/html; charset=utf-8"
    assert "default-src 'self'" in html.headers["Content-Security-Policy"]
    assert html.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(rb"<script(?! type=.module. src=./)|<style| style=| on\w+=|https?://", html.data)


# ---- errors, by row of the contract's table


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("metod=cam", "unknown_name", "unknown option 'metod'; did you mean 'method'"),
        ("method=grad_cam", "unknown_name", "unknown method 'grad_cam'; did you mean 'gradcam'"),
        ("layer=headd", "unknown_name", "unknown layer 'headd'; did you mean 'head'"),
        ("target=Egyptian+cart", "unknown_name", "did you mean 'Egyptian cat'"),
        ("target=tabby-tigre+cat", "unknown_name", "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        ("quantity=softmax", "unknown_name", "unknown quantity 'softmax'; did you mean 'log-softmax'"),
        ("target=1000", "bad_option", "the model has classes 0 to 999"),
        ("colormap=infernal", "unknown_name", "unknown colour map 'infernal'; did you mean 'inferno'"),
        ("size=huge", "bad_option", "size 'huge' is not a size; allowed are fit, crop, native"),
        ("alpha=2", "bad_option", "alpha '2': should be less than or equal to 1"),
        ("alpha=nan&threshold=x", "bad_option", "threshold 'x': should be a number"),
        ("contour=2", "bad_option", "contour '2': should be on, off or a share of the maximum, 0 to 1"),
        ("legend=perhaps", "bad_option", "legend 'perhaps': allowed are on and off"),
        ("outputs=overlay,mesk", "unknown_name", "unknown output 'mesk'; did you mean 'mask'"),
        ("format=gif", "unknown_name", "unknown format 'gif'. Known: png, jpeg, webp"),
        ("top_k=0", "bad_option", "top_k '0': should be greater than or equal to 1"),
        ("alpha=0.1&alpha=0.2", "bad_option", "option 'alpha' was given twice: '0.1' and '0.2'"),
    ],
)
def test_400_names_the_option_and_what_is_allowed(client: FlaskClient, query: str, code: str, said: str) -> None:
    check_problem(post(client, query), 400, code, said)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("at=5", "at '5' should be x,y: numbers of pixels"),
        ("at=5,6;7", "at '7' should be x,y"),
        ("region=0,0,9", "region '0,0,9' should be left,top,right,bottom"),
        ("region=0,0,9,99", "within the photograph's 90 x 70 pixels"),
        ("at=5,500", "place 5, 500 is outside the photograph"),
        ("at=5,5&layer=blocks.10", "the head is general. Try the model's last layer"),
    ],
)
def test_400_of_questions_without_an_answer(client: FlaskClient, query: str, said: str) -> None:
    check_problem(post(client, query, **asks("application/json")), 400, "bad_option", said)


@pytest.mark.parametrize(
    "option", ["target", "method", "layer", "at", "region", "size", "colormap", "outputs", "scale", "x"]
)
def test_long_values_are_refused_at_once_and_not_sent_back(client: FlaskClient, option: str) -> None:
    long = "tiger cat-" * 40_000  # the largest that a form's field may be is half a megabyte
    start = time.monotonic()
    response = post_form(client, image=(io.BytesIO(PNG), "noise.png"), **{option: long})
    assert (response.status_code, time.monotonic() - start < 3) == (400, True)
    assert len(response.data) < 2000
    named = post_form(client, image=(io.BytesIO(PNG), "noise.png"), **{long: "1"})
    assert (named.status_code, len(named.data) < 2000) == (400, True)


def test_an_output_asked_for_often_is_made_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(name: str, *_: object) -> dict[str, object]:
        made.append(name)
        return {}

    monkeypatch.setattr("camserve.web.responses.output", make)
    assert post(client, "outputs=mask,mask,overlay,mask", **asks("application/json")).status_code == 200
    assert made == ["mask", "overlay"]


def test_400_of_forms(client: FlaskClient) -> None:
    def file(name: str = "noise.png") -> tuple[io.BytesIO, str]:
        return io.BytesIO(PNG), name

    check_problem(post_form(client, image=file(), alpah="1"), 400, "unknown_name", "did you mean 'alpha'")
    check_problem(post_form(client, method="cam"), 400, "bad_option", "the form has no image")
    check_problem(post_form(client, image=(io.BytesIO(), "")), 400, "bad_option", "the form has no image")
    check_problem(post_form(client, image="abc"), 400, "bad_option", "'image' is text, not a file")
    check_problem(post_form(client, image=[file(), file()]), 400, "bad_option", "the form has 2 images")
    check_problem(post_form(client, image=file(), x=file()), 400, "bad_option", "the form has a file 'x'")
    broken = client.post(EXPLAIN, data=b"--x\r\nnonsense", content_type="multipart/form-data; boundary=x")
    check_problem(broken, 400, "bad_option", "the form has no image")


def test_401_without_the_token_except_for_probes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "correct-horse-battery-staple"
    settings = load_settings(environ={}, overrides={"serve": {"token": token}})
    monkeypatch.setattr(service, "settings", settings)
    client = create_app(service=service).test_client()
    for given in (None, "", token, f"Bearer {token}x", f"Bearer {token[:-1]}", f"Basic {token}", "Bearer \xe9"):
        refused = post(client, headers={"Authorization": given} if given is not None else {})
        check_problem(refused, 401, "unauthorised", "'Authorization: Bearer TOKEN'")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert post(client, headers={"Authorization": f"bearer  {token}"}).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/").status_code == client.get("/nonesuch").status_code == 401
    assert token not in repr(settings)


def test_a_token_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"serve\.token = \.\.\.: .* 16 letters") as failure:
        load_settings(environ={"CAMSERVE_SERVE_TOKEN": "swordfish"})
    assert "swordfish" not in str(failure.value)


@pytest.mark.parametrize("name", ["nonesuch", "../efficientnet-lite0", "/etc", "efficientnet-lite0/card.toml"])
def test_404_of_a_model_that_is_no_card_s_name(client: FlaskClient, name: str) -> None:
    check_problem(post(client, f"model={name}"), 404, "unknown_model", f"unknown model '{name}'")


def test_404_of_paths(client: FlaskClient) -> None:
    said = "unknown path '/api/v1/explian'; did you mean '/api/v1/explain'"
    check_problem(client.post("/api/v1/explian"), 404, "unknown_path", said)
    check_problem(client.get("/api/v1/models/x/layers"), 404, "unknown_model", "unknown model 'x'")
    check_problem(client.get("/api/v1/models/x:explain/layers"), 404, "unknown_path", "unknown path")


def test_405_says_what_is_allowed(client: FlaskClient) -> None:
    response = client.get(EXPLAIN)
    check_problem(response, 405, "method_not_allowed", "GET is not allowed on /api/v1/explain; allowed: OPTIONS, POST")
    assert response.headers["Allow"] == "OPTIONS, POST"


def test_406_lists_what_there_is(client: FlaskClient) -> None:
    check_problem(post(client, **asks("text/csv")), 406, "not_acceptable", "none of Accept 'text/csv' is available")
    check_problem(post(client, **asks("text/csv")), 406, "not_acceptable", "application/json, application/x-npy")


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
def test_413_comes_before_the_body_is_read(client: FlaskClient, kind: str) -> None:
    body = io.BytesIO(b"unread")
    response = client.post(
        EXPLAIN, content_type=kind, input_stream=body, environ_overrides={"CONTENT_LENGTH": str(30 * 2**20)}
    )
    check_problem(response, 413, "body_too_large", "the body has 30 MiB or more; allowed are 25 ")
    assert response.headers["Connection"] == "close"
    assert body.tell() == 0


def test_413_of_a_body_without_a_length_is_found_by_counting(client: FlaskClient) -> None:
    body = io.BytesIO(bytes(40 * 2**20))
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = client.post(EXPLAIN, content_type="image/png", input_stream=body, environ_overrides=chunked)
    check_problem(response, 413, "body_too_large", "allowed are 25 (limits.body_megabytes)")
    assert response.headers["Connection"] == "close"
    assert body.tell() < 26 * 2**20


def test_413_of_a_form_with_too_many_fields(client: FlaskClient) -> None:
    check_problem(post_form(client, alpha=["1"] * 99), 413, "body_too_large", "the form has over 64 fields")


def test_415_of_types_we_do_not_take(client: FlaskClient) -> None:
    declared = post(client, content_type="application/x-www-form-urlencoded")
    check_problem(declared, 415, "unsupported_type", "allowed are image/*, application/octet-stream")
    text = post_form(client, image=(io.BytesIO(b"this is no picture\n" * 9), "notes.jpg"))
    check_problem(text, 415, "unsupported_type", "'notes.jpg'")
    assert "allowed are JPEG" in text.get_json(force=True)["detail"]


def test_422_of_bytes_that_do_not_decode(client: FlaskClient) -> None:
    check_problem(post(client, data=PNG[:100]), 422, "bad_image", "cannot be decoded")
    check_problem(post(client, data=b""), 422, "bad_image", "is empty")


def test_422_of_too_many_pixels(client: FlaskClient) -> None:
    huge = encode(Image.new("L", (8000, 6300)), "png")
    check_problem(post(client, data=huge), 422, "too_many_pixels", "allowed are 50 (limits.megapixels)")  # not 400


@pytest.fixture
def small() -> Iterator[Service]:
    """One worker, one more place in the queue, two uploads at once."""
    overrides: dict[str, dict[str, Any]] = {
        "compute": {"workers": 1},
        "serve": {"queue": 1, "http_threads": 3, "deadline_seconds": 0.05},
    }
    made = Service(load_settings(environ={}, overrides=overrides))
    made.load()
    yield made
    made.close()


def test_504_of_an_answer_that_takes_too_long(small: Service) -> None:
    client, end = create_app(service=small).test_client(), threading.Event()
    running = small.pools.usual.submit(end.wait)
    said = "no answer within 0.05 s, waiting included (serve.deadline_seconds)"
    check_problem(post(client), 504, "deadline_passed", said)
    with small.gate.turn(Record("x")), small.gate.turn(Record("x")):  # no room to work, and the queue is full
        full = post(client)
        check_problem(full, 429, "busy", "2 requests are in progress, which is the limit (serve.queue)")
        assert (full.headers["Retry-After"], full.headers["Connection"]) == ("1", "close")
    end.set()
    assert running.result(5)
    assert small.gate.admitted == small.gate.working == 0


@pytest.mark.parametrize("path", [EXPLAIN, "/v1/models/efficientnet-lite0:explain"])
def test_a_refusal_without_a_thread_is_the_one_with_a_thread(
    small: Service, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(service=small)
    sent = {"X-Request-Id": "mine", "Content-Type": "image/png", "Content-Length": "9"}
    head = f"POST {path}?a=b HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    data = f"{head}\r\n\r\nx-request-id: another".encode()
    assert small.gate.refusal() is None  # there is room
    with small.gate.turn(Record("x")), small.gate.turn(Record("x")), caplog.at_level("INFO", "camserve.request"):
        busy = small.gate.refusal()
        assert busy is not None
        made = refused(app, busy, data, ("127.0.0.1", 5))
        asked = app.test_client().post(path, data=b"123456789", headers=sent)
        assert refused(app, busy, data.replace(path.encode(), b"/"), None) is None  # the page's form, refused as a page
        assert refused(app, busy, b"nonsense", None) is None
    assert made is not None
    start, _, body = made.partition(b"\r\n\r\n")
    status, *lines = start.decode().split("\r\n")
    assert (status, asked.status_code, body) == ("HTTP/1.1 429 TOO MANY REQUESTS", 429, asked.data)
    assert dict(line.split(": ", 1) for line in lines) == dict(asked.headers)
    ours, theirs = ({**one.__dict__["facts"], "milliseconds": 0} for one in caplog.records)
    assert ours == theirs
    assert 'camserve_rejected_total{code="busy"} 2.0' in app.test_client().get("/metrics").text


def test_what_waits_for_room_to_work_decodes_nothing(small: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small.gate, "places", 9)
    monkeypatch.setattr("camserve.web.service.read_photo", lambda *_, **__: pytest.fail("decoded"))
    with small.gate.turn(Record("x")), small.gate.turn(Record("x")):
        check_problem(post(create_app(service=small).test_client()), 504, "deadline_passed", "no answer within 0.05 s")
        assert (small.gate.waiting, small.gate.working) == (0, 2)


def test_uploads_beyond_their_share_of_threads_are_refused_unread(small: Service) -> None:
    client, body = create_app(service=small).test_client(), io.BytesIO(b"unread")
    with small.gate.upload(None), small.gate.upload(None):
        assert small.gate.reading == 2
        response = client.post(EXPLAIN, content_type="image/png", input_stream=body)
        check_problem(response, 429, "busy", "2 uploads are in progress, which is the limit (serve.http_threads)")
        assert client.get("/livez").status_code == 200
    assert body.tell() == 0


def test_503_while_loading_and_when_draining() -> None:
    unloaded = Service(load_settings(environ={}))
    client = create_app(service=unloaded).test_client()
    for response in (post(client), client.get("/readyz"), client.get("/api/v1/models/efficientnet-lite0/layers")):
        check_problem(response, 503, "unavailable", "'efficientnet-lite0' is still being loaded")
        assert response.headers["Retry-After"] == "2"
    assert client.get("/livez").status_code == client.get("/api/v1/models").status_code == 200
    unloaded.drain()
    check_problem(client.get("/readyz"), 503, "unavailable", "camserve is shutting down")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("at /secret/place"), "internal_error"),
        (ModelError("cannot load '/secret/place'"), "model_error"),
        (ConfigError("cannot read '/secret/place'"), "bad_config"),
    ],
)
def test_500_tells_the_log_and_not_the_caller(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Service, "explain", fail)
    response = post(client, headers={"X-Request-Id": "job-7"})
    check_problem(response, 500, code, "the service's log")
    for inside in ("secret", "Error", "Traceback", "line "):
        assert inside not in response.text.replace("Internal Server Error", "")
    assert "request job-7 failed" in caplog.text
    assert "/secret/place" in caplog.text


def test_errors_of_the_other_dialects_are_plain_json(client: FlaskClient) -> None:
    assert client.get("/v1/nonesuch").content_type == client.get("/v2/nonesuch").content_type == "application/json"


# ---- options, whichever way they come


def test_options_take_the_types_of_json_too() -> None:
    assert make_options({"target": 3, "size": 320, "boxes": True}) == parse_options(
        [("target", "3"), ("size", "320"), ("boxes", "on")]
    ).model_copy(update={"target": 3, "size": 320})


def test_outputs_may_be_repeated_or_listed() -> None:
    assert parse_options([("outputs", "mask"), ("outputs", "overlay")]).outputs == ("mask", "overlay")
    assert make_options({"outputs": ["mask", "overlay"]}).outputs == ("mask", "overlay")


# ---- the real server

SLOW = """
import time
from camserve.config import load_settings
from camserve.web.server import serve as server
from camserve.web import service

explain = service.Service.explain

def slow(self, image, options, now, until, **more):
    time.sleep(1.5 if options.target == "1" else 0)
    return explain(self, image, options, now, until)

service.Service.explain = slow
server.serve(load_settings(overrides={"serve": {"port": 0, "upload_seconds": 3}}))
"""


class Process:
    """A server of its own, and the port it took."""

    def __init__(self, code: str, **environ: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
        )
        assert self.popen.stdout is not None
        self.line = self.popen.stdout.readline()
        self.port = urlsplit(self.line.split()[3]).port

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def wait_until_ready(self) -> None:
        end = time.monotonic() + 30
        while self.request("GET", "/readyz").status != 200:
            assert time.monotonic() < end
            time.sleep(0.1)

    def end(self) -> int:
        self.popen.terminate()
        code = self.popen.wait(20)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return code


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    made = Process(SLOW)
    yield made
    if made.popen.poll() is None:
        made.end()


def test_the_server_says_where_it_listens_and_lives_before_it_is_ready(process: Process) -> None:
    assert re.fullmatch(
        r"camserve listens on http://127\.0\.0\.1:\d+ \(this machine only; serve\.host opens it to others\)\n",
        process.line,
    )
    assert process.request("GET", "/livez").status == 200
    early = process.request("GET", "/readyz")
    assert (early.status, early.headers["Retry-After"]) == (503, "2")


def test_the_server_explains_in_a_child_of_a_process_without_torch(process: Process) -> None:
    process.wait_until_ready()
    response = process.request("POST", f"{EXPLAIN}?method=gradcam", PNG, **{"Content-Type": "image/png"})
    assert (response.status, response.headers["Content-Type"]) == (200, "image/png")
    maps = Path(f"/proc/{process.popen.pid}/maps")
    if not maps.exists():
        pytest.skip("no /proc to look into")
    assert "libtorch" not in maps.read_text()
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    assert ["libtorch" in Path(f"/proc/{child}/maps").read_text() for child in children] == [True]


def test_the_server_closes_the_connection_on_a_body_it_will_not_read(process: Process) -> None:
    chunks = (bytes(2**20) for _ in range(26))
    headers = {"Content-Type": "image/png", "Transfer-Encoding": "chunked"}
    response = process.request("POST", EXPLAIN, chunks, **headers)
    assert (response.status, response.headers["Connection"]) == (413, "close")
    with socket.create_connection(("127.0.0.1", process.port)) as raw:
        raw.sendall(b"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        answer = raw.makefile("rb").read()  # ends only because the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_slow_uploads_neither_starve_the_others_nor_last(process: Process) -> None:
    head = b"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n"
    process.wait_until_ready()
    slow = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(64)]
    for connection in slow:
        connection.sendall(head)
    start = time.monotonic()
    health = [process.request("GET", "/livez").status for _ in range(5)]
    assert health == [200] * 5
    assert "camserve_uploads 64.0" in process.request("GET", "/metrics").data.decode()
    assert process.request("POST", EXPLAIN, PNG, **{"Content-Type": "image/png"}).status == 200
    assert time.monotonic() - start < 2
    while time.monotonic() < start + 2:  # a byte now and then does not help
        time.sleep(0.5)
        for connection in slow:
            connection.sendall(b"x")
    answers = collections.Counter(_status(connection) for connection in slow)
    assert answers == {408: 64}
    assert time.monotonic() - start > 2.9
    assert "camserve_uploads 0.0" in process.request("GET", "/metrics").data.decode()


def test_slow_heads_hold_no_thread_and_long_ones_are_refused(process: Process) -> None:
    process.wait_until_ready()
    address = ("127.0.0.1", process.port)
    slow = [socket.create_connection(address) for _ in range(64)]
    for connection in slow:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHo")
    start = time.monotonic()
    assert process.request("POST", EXPLAIN, PNG, **{"Content-Type": "image/png"}).status == 200
    assert time.monotonic() - start < 2
    for connection in slow[:32]:
        connection.sendall(b"st: x\r\nConnection: close\r\n\r\n")
    assert {_status(connection) for connection in slow[:32]} == {200}
    for connection in slow[32:]:
        connection.close()
    with socket.create_connection(address) as long, long.makefile("rb") as answer:
        long.sendall(b"GET /livez HTTP/1.1\r\nX: " + bytes(2**17))
        assert answer.readline().startswith(b"HTTP/1.1 431 ")


def test_requests_one_after_another_in_pieces_share_a_connection(process: Process) -> None:
    process.wait_until_ready()
    post = (
        f"POST {EXPLAIN} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(PNG)}\r\n\r\n".encode()
    )
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (PNG[:50], PNG[50:])) + b"0\r\n\r\n"
    chunked = post.replace(b"Content-Length: %d" % len(PNG), b"Transfer-Encoding: chunked")
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sent = post + PNG + chunked + chunks + post + PNG + last
    with socket.create_connection(("127.0.0.1", process.port)) as raw, raw.makefile("rb") as answers:
        for start in range(0, len(sent), 3001):
            raw.sendall(sent[start : start + 3001])
            time.sleep(0.02)
        whole = answers.read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", whole) == [b"200"] * 4
    assert whole.count(b"\x89PNG") == 3


def _status(connection: socket.socket) -> int:
    """Of the answer, read to the end that the server makes."""
    with connection, connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def test_a_body_that_ends_early_is_an_error(process: Process) -> None:
    process.wait_until_ready()
    with socket.create_connection(("127.0.0.1", process.port)) as raw:
        raw.sendall(b"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nfew")
        raw.shutdown(socket.SHUT_WR)
        assert b"the body has 3 bytes; Content-Length said 99" in raw.makefile("rb").read()


def test_a_term_signal_lets_a_slow_request_finish(process: Process) -> None:
    answers: list[int] = []
    slow = threading.Thread(
        target=lambda: answers.append(
            process.request("POST", f"{EXPLAIN}?target=1", PNG, **{"Content-Type": "image/png"}).status
        )
    )
    slow.start()
    time.sleep(0.5)
    process.popen.send_signal(signal.SIGTERM)
    slow.join()
    assert answers == [200]
    assert process.end() == 0


def test_a_term_signal_while_loading_ends_well(capfd: pytest.CaptureFixture[str]) -> None:
    process = Process(SLOW)
    assert process.request("GET", "/livez").status == 200
    assert process.request("GET", "/readyz").status == 503
    assert process.end() == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_whose_model_is_broken_ends_instead_of_staying_unready(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "card.toml").write_text('architecture = "camserve.nets:nonesuch"\n')
    settings = {"CAMSERVE_MODELS_FOLDERS": str(tmp_path), "CAMSERVE_EXPLAIN_MODEL": "bad"}
    process = Process(SLOW, **settings)
    assert process.popen.wait(20) == 3
    process.end()


def test_what_cannot_start_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="unknown model 'nonesuch'"):
        serve(load_settings(environ={}, overrides={"explain": {"model": "nonesuch"}}))
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = f"cannot listen on 127.0.0.1 port {port} (serve.host, serve.port): Address already in use."
        with pytest.raises(ConfigError, match=re.escape(said)):
            open_socket("127.0.0.1", port)
