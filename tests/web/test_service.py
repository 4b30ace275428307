"""What a service remembers, counts and writes down."""

import json
import logging
import re
import threading
from typing import Any

import pytest
from conftest import picture
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import camserve
from camserve.images.reading import encode
from camserve.models.compiled.closed_network import ClosedNetwork
from camserve.models.layer import Layer
from camserve.web.app import create_app
from camserve.web.logs import AtOnce, JsonLines
from camserve.web.service import Service
from camserve.web.work.result_cache import Memory

PNG = encode(picture(), "png")


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """An application whose memory is empty."""
    monkeypatch.setattr(service, "memory", Memory(2**24))
    return create_app(service=service).test_client()


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers whose network was run, one for each time; "closed" for the model's own in closed form."""
    run: list[str] = []

    def counting(kind: type, name: str | None) -> None:
        observe = kind.observe  # type: ignore[attr-defined]

        def counted(self: Any, images: Any) -> Any:
            run.append(name or self.name)
            return observe(self, images)

        monkeypatch.setattr(kind, "observe", counted)

    counting(Layer, None)
    counting(ClosedNetwork, "closed")
    return run


def post(client: FlaskClient, query: str = "", data: bytes = PNG, **headers: str) -> TestResponse:
    return client.post(f"/api/v1/explain?{query}", data=data, content_type="image/png", headers=headers)


# ---- memory


def test_other_colours_and_classes_cost_no_forward_and_no_bit(
    client: FlaskClient, model: camserve.Model, forwards: list[str]
) -> None:
    explanation = model.explain(PNG, target=207)
    lesser = model.explain(PNG, target="tabby-tiger cat", method="gradcam")
    forwards.clear()
    assert post(client).status_code == 200
    assert forwards == ["closed"] * 2  # of the whole photograph, and of the model's own evaluation crop
    changed = post(client, "target=207&alpha=0.4&colormap=viridis").data
    difference = post(client, "target=tabby-tiger+cat&method=gradcam").data
    assert forwards == ["closed"] * 2 + ["head"] * 2  # a method that is no closed form meets the network
    for query in ("target=205&method=gradcam", "target=281"):
        post(client, query)
    assert len(forwards) == 4
    assert changed == encode(explanation.overlay(alpha=0.4, colormap="viridis"), "png")
    assert difference == encode(lesser.overlay(), "png")


def test_a_long_method_is_run_once(client: FlaskClient, service: Service, forwards: list[str]) -> None:
    first = post(client, "method=gradcam&sharp=on")
    again = post(client, "method=gradcam&sharp=on&colormap=viridis&contour=on")
    assert first.status_code == again.status_code == 200
    assert "method" in first.headers["Server-Timing"]
    assert "method" not in again.headers["Server-Timing"]
    assert service.memory.hits["explanation"] == 1


def test_another_image_model_or_size_is_another_question(client: FlaskClient, forwards: list[str]) -> None:
    for query, data in (("", PNG), ("", encode(picture(1), "png")), ("size=crop", PNG), ("layer=blocks.10", PNG)):
        assert post(client, query, data).status_code == 200
    # of each photograph the whole and the crop; the crop of PNG is known when it is asked for
    assert forwards[:4] == ["closed"] * 4 and set(forwards[4:]) == {"head", "blocks.10"}


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = Memory(10_000)
    memory._put(0, "value 0", 4_000)
    memory._put(1, "value 1", 4_000)
    assert memory._get("activations", 0) == "value 0"
    memory._put(2, "value 2", 4_000)
    assert [memory._get("activations", key) for key in range(3)] == ["value 0", None, "value 2"]
    memory._put("huge", "value", 10_001)
    assert memory._get("activations", "huge") is None
    assert memory._size == 8_000


def test_what_the_caller_has_is_not_sent_again(client: FlaskClient, forwards: list[str]) -> None:
    first = post(client)
    tag = first.headers["ETag"]
    assert re.fullmatch('"[0-9a-f]{32}"', tag)
    forwards.clear()
    again = post(client, "", PNG, **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"], again.headers["Vary"]) == (304, b"", tag, "Accept")
    assert post(client, "", PNG, **{"If-None-Match": f'"other", W/{tag}'}).status_code == 304
    assert forwards == []
    assert post(client, "", PNG, **{"If-None-Match": "*"}).status_code == 200
    for query, accept in (("alpha=0.5", "*/*"), ("target=3", "*/*"), ("", "image/jpeg")):
        assert post(client, query, PNG, Accept=accept, **{"If-None-Match": tag}).status_code == 200
    assert post(client, data=encode(picture(1), "png"), **{"If-None-Match": tag}).status_code == 200


# ---- metrics


def numbers(client: FlaskClient) -> dict[str, float]:
    """{name and labels: value} of /metrics."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_metrics_count_what_was_done(client: FlaskClient) -> None:
    assert post(client).status_code == 200
    assert post(client, "alpha=0.1").status_code == 200
    assert post(client, "alpha=2").status_code == 400
    assert post(client, data=PNG[:100]).status_code == 422
    found = numbers(client)
    for step in ("preprocess", "explain", "postprocess"):
        assert found[f'request_{step}_seconds_count{{model_name="efficientnet-lite0"}}'] in (1, 2)
        assert found[f'request_{step}_seconds_sum{{model_name="efficientnet-lite0"}}'] > 0
    assert found["camserve_queue_depth"] == found["camserve_in_flight"] == found["camserve_uploads"] == 0
    assert found["camserve_models"] == 1
    assert found['camserve_requests_total{status="200"}'] == 2
    assert found['camserve_rejected_total{code="bad_option"}'] == 1
    assert found['camserve_rejected_total{code="bad_image"}'] == 1
    assert found['camserve_memory_hits_total{kind="explanation"}'] == 1
    assert found["camserve_image_megapixels_sum"] == pytest.approx(2 * 0.0063)
    assert found[f'camserve_build_info{{version="{camserve.__version__}"}}'] == 1
    assert found["process_open_fds"] > 0


def test_metrics_tell_failed_from_rejected(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Service, "explain", fail)
    assert post(client).status_code == 500
    assert numbers(client)['camserve_failed_total{code="internal_error"}'] == 1


# ---- the log


def test_every_request_has_one_line_of_json(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "camserve.request"):
        assert post(client, "method=cam", PNG, **{"X-Request-Id": "job-7"}).status_code == 200
        assert post(client, "alpha=2").status_code == 400
        assert client.get("/nonesuch").status_code == 404
    lines = [json.loads(JsonLines().format(one)) for one in caplog.records]
    assert [(one["method"], one["path"], one["status"]) for one in lines] == [
        ("POST", "/api/v1/explain", 200),
        ("POST", "/api/v1/explain", 400),
        ("GET", "/nonesuch", 404),
    ]
    first, second, _ = lines
    assert (first["request"], first["model"], first["explained_by"]) == ("job-7", "efficientnet-lite0", "cam")
    assert (first["level"], first["logger"]) == ("info", "camserve.request")
    assert first["bytes_in"] == len(PNG)
    assert first["decode_milliseconds"] <= first["milliseconds"]
    assert (second["code"], second["detail"][:9]) == ("bad_option", "alpha '2'")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", one["time"]) for one in lines)


def test_a_traceback_is_one_line_too(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("camserve.test").exception("it failed")
    (line,) = [JsonLines().format(one) for one in caplog.records]
    assert "\n" not in line
    assert "ValueError: inside" in json.loads(line)["traceback"]


def test_lines_are_whole_and_nobody_waits_for_a_lock(capfd: pytest.CaptureFixture[str]) -> None:
    handler = AtOnce()
    handler.setFormatter(JsonLines())
    record = logging.LogRecord("camserve", logging.INFO, "", 0, "x" * 3000, (), None)
    threads = [threading.Thread(target=lambda: [handler.handle(record) for _ in range(50)]) for _ in range(8)]
    handler.acquire()  # as if another were just writing
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    handler.release()
    lines = capfd.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["x" * 3000] * 400


@pytest.mark.parametrize("ask", [lambda: bytearray(2**60), lambda: __import__("torch").empty(2**60)])
def test_too_little_memory_is_no_fault_of_the_request(
    service: Service, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(service=service)
    app.get("/api/v1/much")(ask)
    response = app.test_client().get("/api/v1/much")
    problem = response.get_json(force=True)
    assert (response.status_code, problem["code"]) == (503, "out_of_memory")
    assert "too little memory" in problem["detail"]
    assert response.headers["Retry-After"] == "2"
    assert 'camserve_failed_total{code="out_of_memory"} 1.0' in app.test_client().get("/metrics").text
    assert [one.levelname for one in caplog.records if "out of memory" in one.message] == ["WARNING"]
