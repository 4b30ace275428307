"""Several classes over HTTP: one forward, a list or a sheet."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image

import camserve
from camserve.config import load_settings
from camserve.explanation import contact_sheet as sheet
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service

CLASSES = "/api/v1/explain/classes"
PNG = encode(picture(), "png")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(load_settings(environ={}))
    made.load()
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> FlaskClient:
    return create_app(service=service).test_client()


def listed(client: FlaskClient, **query: str) -> list[dict[str, object]]:
    accept = {"Accept": "application/json"}
    response = client.post(CLASSES, query_string=query, data=PNG, content_type="image/png", headers=accept)
    assert response.status_code == 200, response.data
    found: list[dict[str, object]] = response.get_json()["explanations"]
    return found


def test_several_classes_are_what_python_gives(client: FlaskClient, model: camserve.Model) -> None:
    found = listed(client, targets="tabby; tiger cat-tabby;-282", method="layercam", top_k="2")
    made = model.explain_classes(PNG, ["tabby", "tiger cat-tabby", "-282"], method="layercam")
    for one, expected in zip(found, made, strict=True):
        assert np.array_equal(np.array(one["map"], np.float32), expected.map)
        assert (one["target"], one["warnings"]) == (expected.to_dict()["target"], list(expected.warnings))
        assert len(one["top"]) == 2  # type: ignore[arg-type]


def test_a_number_is_so_many_of_the_best(client: FlaskClient, model: camserve.Model) -> None:
    assert [one["class_index"] for one in listed(client, targets="3")] == [
        one.class_index for one in model.explain(PNG).top(3)
    ]


def test_they_may_come_as_form_fields(client: FlaskClient) -> None:
    fields = {"image": (io.BytesIO(PNG), "noise.png"), "targets": "2", "target": ""}
    response = client.post(CLASSES, data=fields, headers={"Accept": "application/json"})
    assert len(response.get_json()["explanations"]) == 2


@pytest.mark.parametrize(("accept", "kind"), [("*/*", "PNG"), ("image/jpeg", "JPEG")])
def test_as_an_image_they_are_a_sheet(client: FlaskClient, accept: str, kind: str) -> None:
    url = f"{CLASSES}?targets=2&contour=on"
    response = client.post(url, data=PNG, content_type="image/png", headers={"Accept": accept})
    with Image.open(io.BytesIO(response.data)) as drawn:
        assert (drawn.format, drawn.width) == (kind, 2 * sheet.MARGIN + 3 * (sheet.TILE + sheet.GAP) - sheet.GAP)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "give targets once, and no target"),
        ("targets=1;2&target=3", 400, "give targets once, and no target"),
        ("targets=1&targets=2", 400, "give targets once"),
        ("targets=;", 400, "names no class"),
        ("targets=2000", 400, "2000 classes were asked for; the model has 1000"),
        ("targets=tabby;tigre cat", 400, "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        ("targets=2&alpah=1", 400, "did you mean 'alpha'"),
    ],
)
def test_what_is_wrong_is_said(client: FlaskClient, query: str, status: int, said: str) -> None:
    response = client.post(f"{CLASSES}?{query}", data=PNG, content_type="image/png")
    assert (response.status_code, said in response.get_json(force=True)["detail"]) == (status, True)


@pytest.mark.parametrize("kind", ["application/x-npy", "application/zip"])
def test_there_is_no_one_array_of_several(client: FlaskClient, kind: str) -> None:
    accept = {"Accept": kind}
    response = client.post(f"{CLASSES}?targets=2", data=PNG, content_type="image/png", headers=accept)
    assert response.status_code == 406


def test_a_long_list_is_refused(client: FlaskClient) -> None:
    for given in ("1;" * 501, "1" * 5000):
        response = client.post(CLASSES, data={"image": (io.BytesIO(PNG), "noise.png"), "targets": given})
        assert response.status_code == 400
        assert f"targets has {len(given)} characters; allowed are 1000" in response.get_json(force=True)["detail"]
