"""What methods would take, and what is refused before it begins."""

import base64
import io
import threading
import time
from typing import Any

import numpy as np
import pytest
from conftest import picture
from flask.testing import FlaskClient
from test_web import check_problem
from torch import nn

import camserve
from camserve.catalogue.methods import METHODS
from camserve.catalogue.options import ExplainOptions
from camserve.config import load_settings
from camserve.errors import TooLong
from camserve.explain.pipeline import open_photo
from camserve.explain.run import Run
from camserve.explain.suitability import unsuitable
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service
from camserve.web.work import forecasts
from camserve.web.work.forecasts import Forecasts

PNG, RISE = encode(picture(), "png"), "/api/v1/explain?method=rise"


def ask(client: FlaskClient, query: str = "") -> dict[str, dict[str, Any]]:
    response = client.post(f"/api/v1/explain/forecast?{query}", data=PNG, content_type="image/png")
    assert response.status_code == 200, response.text
    assert response.get_json()["deadline_seconds"] == 30
    return {one["name"]: one for one in response.get_json()["methods"]}


def test_every_method_has_its_seconds_or_a_reason(client: FlaskClient) -> None:
    found = ask(client)
    assert list(found) == list(METHODS)
    assert all(("seconds" in one) != ("reason" in one) for one in found.values())
    assert found["cam"]["seconds"] == 0
    assert 0 < found["scorecam"]["seconds"] < found["iscam"]["seconds"] < found["sscam"]["seconds"]
    assert "no attention layers" in found["legrad"]["reason"]
    assert ask(client, "size=320")["rise"]["seconds"] != found["rise"]["seconds"]


def test_a_method_that_cannot_end_in_time_is_not_begun(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camserve.explain.seeing.observe", lambda *_: pytest.fail("begun"))
    monkeypatch.setattr(Forecasts, "seconds", lambda *_, **__: {"sscam": 95.4, "rise": 11.0})
    response = client.post("/api/v1/explain?method=sscam", data=PNG, content_type="image/png")
    said = "SS-CAM takes about 95 s on this image, and 30 s are allowed (serve.deadline_seconds); it was not started"
    check_problem(response, 422, "too_long", said)
    several = client.post("/api/v1/explain/classes?method=rise&targets=3", data=PNG, content_type="image/png")
    check_problem(several, 422, "too_long", "RISE takes about 33 s")
    v1 = client.post("/v1/models/efficientnet-lite0:explain?method=sscam", data=PNG, content_type="image/png")
    assert (v1.status_code, v1.get_json()["code"]) == (422, "too_long")
    image = base64.b64encode(PNG).decode()
    body = {"instances": 3 * [{"b64": image}], "parameters": {"method": "rise"}}
    v1 = client.post("/v1/models/efficientnet-lite0:explain", json=body)
    assert (v1.status_code, "RISE takes about 33 s for 3 such images" in v1.get_json()["error"]) == (422, True)


def test_what_was_explained_already_is_answered_whatever_it_took(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/explain?method=groupcam"
    first = client.post(path, data=PNG, content_type="image/png")
    monkeypatch.setattr(Forecasts, "seconds", lambda *_, **__: {"groupcam": 95.4})
    assert first.status_code == 200
    assert client.post(path, data=PNG, content_type="image/png").data == first.data


def test_quick_methods_cost_no_look_at_the_clock(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forecasts, "seconds", lambda *_, **__: pytest.fail("timed"))
    for method in ("auto", "gradcam", "eigencam", "refinecam", "ablationcam"):
        other = encode(picture(7), "png")
        answer = client.post(f"/api/v1/explain?method={method}", data=other, content_type="image/png")
        assert answer.status_code == 200


def test_a_slow_moment_is_timed_again_before_it_refuses(
    model: camserve.Model, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([{"rise": 99.0}, {"rise": 9.0}, {"rise": 99.0}])
    monkeypatch.setattr("camserve.explain.estimate.estimate", lambda *_: next(told))
    photo, made = open_photo(model, io.BytesIO(PNG)), Forecasts()
    made.check(model, photo, ExplainOptions(method="rise"), Run(deadline=30))
    made.check(model, photo, ExplainOptions(method="rise"), Run(deadline=30))  # remembered
    made.check(model, photo, ExplainOptions(method="rise"), Run())  # no deadline
    with pytest.raises(TooLong, match="takes about 99 s"):
        made.check(model, photo, ExplainOptions(method="rise"), Run(deadline=5))


def test_a_busy_pool_keeps_nobody_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides: dict[str, dict[str, Any]] = {"compute": {"workers": 1}, "serve": {"deadline_seconds": 0.5}}
    small, end = Service(load_settings(environ={}, overrides=overrides)), threading.Event()
    small.load()
    running, start = small.pools.usual.submit(end.wait, 8), time.monotonic()
    client = create_app(service=small).test_client()
    answers = [client.post(path, data=PNG, content_type="image/png") for path in (RISE, "/api/v1/explain/forecast")]
    assert time.monotonic() - start < 5
    end.set()
    running.result(5)
    small.close()
    for answer in answers:
        check_problem(answer, 504, "deadline_passed", "no answer within 0.5 s")


def test_seconds_are_remembered_for_a_while_and_not_without_end(
    model: camserve.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def estimate(*_: object) -> dict[str, float]:
        calls.append(1)
        return {"rise": 1.0}

    monkeypatch.setattr("camserve.explain.estimate.estimate", estimate)
    made, photo = Forecasts(), open_photo(model, io.BytesIO(PNG))
    for size in range(100, 200):
        made.seconds(model, photo, ExplainOptions(size=size), Run())
    made.seconds(model, photo, ExplainOptions(size=199), Run())
    assert len(calls) == 100
    made.seconds(model, photo, ExplainOptions(size=100), Run())  # the first went for the last
    assert len(calls) == 101
    monkeypatch.setattr(forecasts, "_FRESH", 0.0)
    made.seconds(model, photo, ExplainOptions(size=100), Run())
    assert len(calls) == 102


def test_classes_are_listed(client: FlaskClient, model: camserve.Model) -> None:
    answer = client.get("/api/v1/models/efficientnet-lite0/classes").get_json()
    assert answer == {"model": "efficientnet-lite0", "classes": list(model.labels)}


def test_reasons_are_what_the_methods_themselves_say(model: camserve.Model) -> None:
    found = model.workers.run(lambda: unsuitable(model))
    for name, reason in found.items():
        with pytest.raises(camserve.errors.OptionError) as refused:
            model.explain(np.zeros((224, 224, 3), np.uint8), method=name)
        assert str(refused.value) == reason
    assert {"legrad", "attentionrollout"} <= set(found)


def test_a_network_without_a_linear_head_has_no_cam() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 15 * 15, 3))
    made = camserve.load(net, size=32)
    found = made.workers.run(lambda: unsuitable(made))
    assert {"cam", "guidedbackprop", "legrad"} <= set(found)
    assert not {"gradcam", "scorecam", "rise"} & set(found)


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_of_other_channels_have_their_reasons_too(channels: int) -> None:
    net = nn.Sequential(nn.Conv2d(channels, 4, 3, 2), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    made = camserve.load(net, size=32, bands=range(channels), mean=0, std=1)
    found = made.workers.run(lambda: unsuitable(made))
    assert {"guidedbackprop", "legrad"} <= set(found)
    assert not {"cam", "gradcam", "rise"} & set(found)
