"""What clients of TorchServe and MLflow send, as they send it, and compressed bodies."""

import base64
import gzip
import io
import json
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image
from test_web import check_problem
from werkzeug.test import TestResponse

import camserve
from camserve.images.reading import encode

NAME = "efficientnet-lite0"
PNG = encode(picture(), "png")
OTHER = encode(picture(1, (64, 80)), "png")
UNDECLARED = ["", "application/x-www-form-urlencoded"]


def encoded(data: bytes = PNG) -> str:
    """As MLflow's own encoder writes bytes: base64 in lines (base64.encodebytes)."""
    return base64.encodebytes(data).decode()


def best_of(model: camserve.Model, data: bytes = PNG) -> dict[str, float | None]:
    return {one.class_name: one.score for one in model.explain(data).top(5)}


# ---- TorchServe


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("kind", [*UNDECLARED, "image/png"])
@pytest.mark.parametrize("version", ["", "/1.0", "/1"])
def test_torchserve_s_predictions_take_an_image_declared_or_not(
    client: FlaskClient, model: camserve.Model, method: str, kind: str, version: str
) -> None:
    response = client.open(f"/predictions/{NAME}{version}", method=method, data=PNG, content_type=kind or None)
    assert (response.status_code, response.get_json()) == (200, best_of(model))


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_torchserve_s_explanations_take_an_image_without_a_type(client: FlaskClient, method: str) -> None:
    bare = client.open(f"/explanations/{NAME}?outputs=mask", method=method, data=PNG)
    declared = client.post(f"/v1/models/{NAME}:explain?outputs=mask", data=PNG, content_type="image/png")
    assert bare.get_json()["explanations"] == declared.get_json()["explanations"]


@pytest.mark.parametrize("path", [f"/predictions/{NAME}", f"/explanations/{NAME}", f"/v1/models/{NAME}:predict"])
def test_json_without_a_type_is_still_json(client: FlaskClient, path: str) -> None:
    body = json.dumps({"instances": [{"b64": encoded()}]}, indent=1).encode()
    for kind in UNDECLARED:
        answer = client.post(path, data=b"\n  " + body, content_type=kind or None).get_json()
        assert len(answer["predictions"]) == 1


@pytest.mark.parametrize("field", ["image", "data"])
def test_a_form_s_file_may_be_called_data(client: FlaskClient, model: camserve.Model, field: str) -> None:
    form = {field: (io.BytesIO(PNG), "kitten.png")}
    response = client.post(f"/predictions/{NAME}", data=form, content_type="multipart/form-data")
    assert response.get_json() == best_of(model)


def test_a_form_with_two_files_or_a_text_is_refused(client: FlaskClient) -> None:
    def send(**form: Any) -> TestResponse:
        return client.post(f"/predictions/{NAME}", data=form, content_type="multipart/form-data")

    two = send(data=[(io.BytesIO(PNG), "a.png"), (io.BytesIO(PNG), "b.png")])
    check_problem(two, 400, "bad_option", "the form has 2 images; send one image per request")
    both = send(data=(io.BytesIO(PNG), "a.png"), image=(io.BytesIO(PNG), "b.png"))
    check_problem(both, 400, "bad_option", "the form has 2 images; send one image per request")
    check_problem(
        send(data="text"), 400, "bad_option", "'data' is text, not a file: with curl write -F data=@photo.jpg"
    )


def test_what_is_neither_image_nor_json_is_refused_in_words(client: FlaskClient) -> None:
    path = f"/predictions/{NAME}"
    check_problem(client.put(path, data=b"this is no picture" * 9), 415, "unsupported_type", "allowed are JPEG")
    check_problem(client.put(path, data=b""), 400, "bad_option", "Invalid JSON")
    check_problem(client.put(f"{path}/2", data=PNG), 404, "unknown_model", f"'{NAME}, version 2'")


def test_a_file_without_its_line_ends_is_known_for_curl_s_d(client: FlaskClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    damaged = encode(Image.fromarray(noise), "png").replace(b"\r", b"").replace(b"\n", b"")
    response = client.post(f"/predictions/{NAME}", data=damaged, content_type="application/x-www-form-urlencoded")
    check_problem(response, 400, "bad_option", "curl -d removes line ends from a file: send it with --data-binary")


def test_put_is_allowed_for_torchserve_only(client: FlaskClient) -> None:
    for path in ("/api/v1/explain", "/invocations", f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer", "/"):
        response = client.put(path, data=PNG)
        assert (response.status_code, "PUT" in response.headers["Allow"]) == (405, False)
    response = client.get(f"/predictions/{NAME}")
    check_problem(response, 405, "method_not_allowed", "allowed: OPTIONS, POST, PUT")


def test_a_put_that_is_too_large_is_refused_unread(client: FlaskClient) -> None:
    body = io.BytesIO(b"unread")
    response = client.put(
        f"/predictions/{NAME}", input_stream=body, environ_overrides={"CONTENT_LENGTH": str(30 * 2**20)}
    )
    check_problem(response, 413, "body_too_large", "the body has 30 MiB or more; allowed are 25 ")
    assert (response.headers["Connection"], body.tell()) == ("close", 0)


@pytest.mark.parametrize("arguments", [["-T"], ["-X", "POST", "-T"], ["--data-binary"], ["-F"], ["--http1.0", "-T"]])
def test_curl_as_torchserve_s_documentation_writes_it(
    server: str, cat: Path, model: camserve.Model, arguments: list[str]
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl installed")
    given = {"-T": str(cat), "--data-binary": f"@{cat}", "-F": f"data=@{cat}"}[arguments[-1]]
    command = [curl, "-sS", f"{server}/predictions/{NAME}", *arguments, given]
    said = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    assert json.loads(said) == best_of(model, cat.read_bytes())


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize("line", [b"PUT /predictions/%b HTTP/1.1", b"POST /predictions/%b HTTP/1.1"])
def test_an_upload_without_a_type_over_a_socket(
    server: str, cat: Path, model: camserve.Model, line: bytes, expect: bytes
) -> None:
    place, data = urlsplit(server), cat.read_bytes()
    head = b"%b\r\nHost: x\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n"
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as connection:
        connection.sendall(head % (line % NAME.encode(), expect, len(data)))
        if expect:
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == best_of(model, data)


# ---- MLflow


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tolist()


FORMS: dict[str, dict[str, Any]] = {
    "split": {"dataframe_split": {"columns": ["image"], "data": [[encoded()], [encoded(OTHER)]]}},
    "split with an index": {
        "dataframe_split": {"index": [0, 1], "columns": [0], "data": [[encoded()], [encoded(OTHER)]]}
    },
    "records": {"dataframe_records": [{"photo": encoded()}, {"photo": encoded(OTHER)}]},
    "inputs by name": {"inputs": {"image": [encoded(), encoded(OTHER)]}},
    "inputs": {"inputs": [encoded(), encoded(OTHER)]},
    "inputs as arrays": {"inputs": [pixels(PNG), pixels(OTHER)]},
    "inputs by name, as arrays": {"inputs": {"x": [pixels(PNG), pixels(OTHER)]}},
    "instances": {"instances": [encoded(), encoded(OTHER)]},
    "instances by name": {"instances": [{"image": encoded()}, {"image": encoded(OTHER)}]},
    "instances as KServe": {"instances": [{"image_bytes": {"b64": encoded()}}, {"b64": encoded(OTHER)}]},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", ["params", "parameters"])
def test_mlflow_s_forms_are_explained(client: FlaskClient, form: str, options: str) -> None:
    asked = {"target": 207, "outputs": ["mask"]}
    response = client.post("/invocations", json={**FORMS[form], options: asked})
    images = [{"b64": encoded()}, {"b64": encoded(OTHER)}]
    expected = client.post(f"/v1/models/{NAME}:explain", json={"instances": images, "parameters": asked})
    assert (response.status_code, response.get_json()) == (200, expected.get_json())


@pytest.mark.parametrize("inputs", [{"image": encoded()}, {"image": [encoded()]}, [encoded()]])
def test_one_image_needs_no_list(client: FlaskClient, inputs: Any) -> None:
    answer = client.post("/invocations", json={"inputs": inputs, "params": {"outputs": ["mask"]}})
    assert len(answer.get_json()["predictions"]) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "give the images in one of dataframe_split, dataframe_records, inputs, instances"),
        ({"inputs": [encoded()], "instances": [encoded()]}, "give the images in one of"),
        ({"inputs": {}}, "inputs has 0 names; give one"),
        ({"inputs": []}, "there is no image in the request"),
        ({"inputs": {"a": [encoded()], "b": [encoded()]}}, "inputs has 2 names, 'a' and 'b'; give one"),
        (
            {"dataframe_split": {"columns": ["id", "image"], "data": [[1, encoded()]]}},
            "dataframe_split has 2 columns, 'id' and 'image'; give one, which holds the images",
        ),
        (
            {"dataframe_split": {"columns": ["image"], "data": [[encoded(), 3]]}},
            "row 0 of dataframe_split has 2 values",
        ),
        ({"dataframe_records": [{"a": encoded(), "b": 1}]}, "dataframe_records.0 has 2 names, 'a' and 'b'"),
        ({"dataframe_records": [{str(i): 1 for i in range(9)}]}, "'4' and 4 more"),
        ({"dataframe_records": [{"a": "?"}]}, "dataframe_records.0 is not base64"),
        ({"inputs": ["https://example.com/cat.jpg"]}, "URLs are not fetched"),
        ({"inputs": [0.5]}, "inputs.0 0.5 is not an image"),
        ({"inputs": [[[0.5, 0.5, 0.5]]]}, "inputs.0 [[0.5, 0.5, 0.5]] is not an image in numbers"),
        ({"inputs": [[[[0.5, 0.5, 0.5]]]]}, "is not an image in numbers"),
        ({"inputs": [[[[0, 0, 256]]]]}, "is not an image in numbers"),
        ({"inputs": [[[[0, 0, -1]]]]}, "is not an image in numbers"),
        ({"inputs": [[[[0, 0, 10**30]]]]}, "is not an image in numbers"),
        ({"inputs": [[[[True, True, False]]]]}, "is not an image in numbers"),
        ({"inputs": [[[[0, 0, 0]], [[0, 0]]]]}, "inputs.0 [[[0, 0, 0]], [[0, 0]]] is not an image in numbers"),
        ({"instances": [{"image": {"b64": {"b64": {"b64": encoded()}}}}]}, "is not an image"),
        ({"instances": [encoded()], "params": {"metod": "cam"}}, "unknown option 'metod'; did you mean 'method'"),
        ({"instances": [encoded()], "signature_name": "x"}, "signature_name 'x': is not known here"),
    ],
)
def test_mlflow_errors_say_where(client: FlaskClient, body: Any, said: str) -> None:
    response = client.post("/invocations", json=body)
    assert response.status_code == 400
    assert said in json.loads(response.data)["detail"]
    assert len(response.data) < 3000


def test_mlflow_s_csv_is_refused_by_name(client: FlaskClient) -> None:
    response = client.post("/invocations", data=f"image\n{base64.b64encode(PNG).decode()}\n", content_type="text/csv")
    check_problem(response, 415, "unsupported_type", "Content-Type 'text/csv' is not accepted")


@pytest.mark.parametrize("kind", UNDECLARED)
def test_an_image_without_a_type_is_explained_at_invocations(client: FlaskClient, kind: str) -> None:
    bare = client.post("/invocations?target=3", data=PNG, content_type=kind or None)
    assert bare.data == client.post("/api/v1/explain?target=3", data=PNG, content_type="image/png").data


# ---- compressed bodies

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
}


def send(client: FlaskClient, data: bytes, coding: str = "gzip", **more: Any) -> TestResponse:
    return client.post("/api/v1/explain", data=data, headers={"Content-Encoding": coding}, **more)


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_compressed_body_is_what_is_inside(client: FlaskClient, coding: str) -> None:
    plain = client.post("/api/v1/explain", data=PNG, content_type="image/png").data
    assert send(client, COMPRESS[coding](PNG), coding, content_type="image/png").data == plain
    body = json.dumps({"instances": [{"b64": encoded()}]}).encode()
    headers = {"Content-Encoding": coding}
    assert client.post(f"/v1/models/{NAME}:predict", data=COMPRESS[coding](body), headers=headers).status_code == 200
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    assert send(client, COMPRESS[coding](form), coding, content_type=kind).data == plain


@pytest.mark.parametrize(
    ("data", "coding", "said"),
    [
        (PNG, "gzip", "the body is not valid gzip data (Content-Encoding)"),
        (gzip.compress(PNG), "deflate", "the body is not valid deflate data (Content-Encoding)"),
        (gzip.compress(PNG)[:-9], "gzip", "the gzip data of the body ends early"),
        (zlib.compress(PNG)[:60], "deflate", "ends early"),
        (b"", "gzip", "ends early"),
        (gzip.compress(PNG) + b"more", "gzip", "the body continues after the end"),
        (gzip.compress(PNG) * 2, "gzip", "the body continues after the end"),
    ],
)
def test_400_of_bodies_that_are_not_compressed_so(client: FlaskClient, data: bytes, coding: str, said: str) -> None:
    check_problem(send(client, data, coding, content_type="image/png"), 400, "bad_option", said)


@pytest.mark.parametrize("kind", ["image/png", "application/json"])
def test_413_of_a_body_that_grows_beyond_the_limit_and_little_of_it_is_kept(client: FlaskClient, kind: str) -> None:
    import tracemalloc

    bomb = gzip.compress(bytes(600 * 2**20), 1)
    assert len(bomb) < 4 * 2**20
    path = "/invocations" if kind == "application/json" else "/api/v1/explain"
    tracemalloc.start()
    try:
        response = client.post(path, data=bomb, content_type=kind, headers={"Content-Encoding": "gzip"})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    check_problem(response, 413, "body_too_large", "decompressed, has more than 25 MiB, which is the limit")
    assert response.headers["Connection"] == "close"
    assert most < 100 * 2**20


def test_413_of_a_form_that_grows_beyond_the_limit(client: FlaskClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    bomb = gzip.compress(head + bytes(60 * 2**20) + b"\r\n--x--\r\n", 1)
    response = send(client, bomb, content_type="multipart/form-data; boundary=x")
    check_problem(response, 413, "body_too_large", "decompressed, has more than 25 MiB, which is the limit")


def test_a_large_body_within_the_limit_is_read(client: FlaskClient) -> None:
    photo = encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)), "png")
    path = f"/predictions/{NAME}"
    plain = client.put(path, data=photo)
    compressed = client.put(path, data=gzip.compress(photo, 1), headers={"Content-Encoding": "gzip"})
    assert (compressed.status_code, compressed.data) == (200, plain.data)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
def test_415_of_other_codings(client: FlaskClient, coding: str) -> None:
    response = send(client, PNG, coding, content_type="image/png")
    check_problem(response, 415, "unsupported_type", f"Content-Encoding '{coding}' is not accepted")
