"""What one body may cost: counted before it is read, refused with the limit, and no more expensive than reading it."""

import json
import time
from typing import Any

import pytest
from conftest import picture
from flask.testing import FlaskClient
from pydantic import BaseModel, ValidationError

from camserve.config import load_settings
from camserve.images.reading import encode
from camserve.web.bodies import emptied
from camserve.web.mlflow import MOST_VALUES, MlflowRequest
from camserve.web.routes.kserve import V1Request
from camserve.web.routes.open_inference import V2Request
from camserve.web.tensors import split_bytes

V1, V2, MLFLOW = "/v1/models/efficientnet-lite0:predict", "/v2/models/efficientnet-lite0/infer", "/invocations"
TENSOR = '{"name": "x", "datatype": "BYTES", "shape": [1], "data": @}'
PNG = encode(picture(), "png")


def many(item: str, megabytes: float = 2) -> str:
    """A list of them, of that size."""
    return "[" + ",".join([item] * int(megabytes * 1e6 / (len(item) + 1))) + "]"


def names(megabytes: float = 2) -> str:
    """An object of as many names."""
    return "{" + ",".join(f'"{place}": 0' for place in range(int(megabytes * 1e6 / 12))) + "}"


FULL_OF_FAULTS = [
    (V1, '{"instances": @}', many("0")),
    (V1, '{"instances": @}', many("{}")),
    (V1, '{"instances": [@]}', names()),
    (V1, "@", names()),
    (V1, '{"instances": [{"b64": "aa"}], "parameters": {"format": @}}', many("0")),
    (V2, '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["aa"]}], "outputs": @}', many("0")),
    (V2, '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["aa"]}], "parameters": @}', names()),
    (V2, f'{{"inputs": [{TENSOR}]}}', many("[]")),
    (V2, f'{{"inputs": [{TENSOR}]}}', many('"aa"')),
    (MLFLOW, '{"instances": @}', many("0")),
    (MLFLOW, '{"instances": [[@]]}', many("[0, 0, 0]")),
    (MLFLOW, "@", names()),
    (MLFLOW, '{"instances": @}', many("{}", 1)),
    (MLFLOW, '{"instances": [[@]]}', many("[0, 0]", 1)),
    (MLFLOW, '{"dataframe_split": {"columns": ["a"], "data": @}}', many("0", 1)),
    (MLFLOW, '{"dataframe_split": {"columns": @, "data": []}}', many("{}", 0.8)),
    (MLFLOW, '{"dataframe_records": @}', many("0", 1)),
    (MLFLOW, '{"instances": [["@", ""]]}', "a" * 200_000 + '"' + ', ""' * 20_000 + ', "'),  # for numpy 16 GB of text
]


@pytest.mark.parametrize(("path", "body", "faults"), FULL_OF_FAULTS, ids=range(len(FULL_OF_FAULTS)))
def test_a_million_faults_cost_what_reading_costs(client: FlaskClient, path: str, body: str, faults: str) -> None:
    start = time.thread_time()
    response = client.post(path, data=body.replace("@", faults), content_type="application/json")
    assert time.thread_time() - start < 4  # half of what these took
    assert response.status_code in (400, 422)
    assert len(response.data) < 2500


@pytest.mark.parametrize("kind", [V1Request, V2Request])
def test_all_faults_of_as_many_values_as_are_allowed_are_quick(kind: type[BaseModel]) -> None:
    start = time.thread_time()
    with pytest.raises(ValidationError):
        kind.model_validate_json(json.dumps({"instances": [{}] * 1500, "inputs": [{}] * 1500}))
    assert time.thread_time() - start < 2  # 3 ms; collecting the garbage of other tests takes up to a second


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (V1, {"instances": [{"b64": "aa"}] * 257}, "the request has 257 images; allowed are 256 (limits.explanations)"),
        (V2, {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [300], "data": ["aa"] * 300}]}, "300 images"),
        (MLFLOW, {"instances": ["aaaa"] * 1000}, "257 images; allowed are 256"),
        (MLFLOW, {"dataframe_records": [{"a": "aaaa"}] * 257}, "257 images; allowed are 256"),
        (V1, {"instances": [0] * 4000}, "more than 3048 values, which is the limit"),
        (MLFLOW, {"instances": [0] * (MOST_VALUES + 1)}, f"more than {MOST_VALUES} values"),
    ],
)
def test_too_many_are_refused_with_the_limit(client: FlaskClient, path: str, body: Any, said: str) -> None:
    response = client.post(path, json=body)
    problem = json.loads(response.data)
    assert (response.status_code, problem["code"]) == (422, "too_much")
    assert said in problem["detail"]


def test_elements_of_no_bytes_are_counted_too(client: FlaskClient) -> None:
    with client.application.app_context():
        assert split_bytes(bytes(4 * 256)) == [b""] * 256
    body = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [300],
                                   "parameters": {"binary_data_size": 4 * 10**6}}]}).encode()  # fmt: skip
    response = client.post(
        V2, data=body + bytes(4 * 10**6), headers={"Inference-Header-Content-Length": str(len(body))}
    )
    assert (response.status_code, response.get_json()["code"]) == (422, "too_much")


def test_the_limit_is_a_setting(client: FlaskClient) -> None:
    assert load_settings(environ={}).limits.explanations == 256
    response = client.post("/api/v1/explain/classes?targets=257", data=PNG, content_type="image/png")
    assert response.status_code == 422
    assert (
        "targets asks for 257 classes; allowed are 256 (limits.explanations)" in response.get_json(force=True)["detail"]
    )


def test_an_image_is_held_once() -> None:
    texts = ["a", "b", "c"]
    assert [(one, len(texts)) for one in emptied(texts)] == [("a", 2), ("b", 1), ("c", 0)]


def test_pixels_in_numbers_are_the_picture(client: FlaskClient) -> None:
    with client.application.app_context():
        numbers = [[[0, 1, 2], [253, 254, 255]]]
        (found,) = MlflowRequest.model_validate({"instances": [numbers]}).take_images()
    assert found.tolist() == numbers
    assert str(found.dtype) == "uint8"


HOSTILE = ["[]", "{}", "[[1]]", "true", "null", "NaN", "-Infinity", "1e400", "9" * 4000, "9" * 5000, '"\\ud800"',
           '"\\u0000"', "[" * 150 + "]" * 150, '{"a": {}}', '"' + "-" * 1000 + '"', '"' + "9" * 5000 + '"']  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_no_value_of_json_is_an_error_of_ours(client: FlaskClient, value: str) -> None:
    places = [
        (V1, '{"instances": [{"b64": @}]}'),
        (V1, '{"instances": @}'),
        (V1, "@"),
        (V2, '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [@], "data": ["aaaa"]}]}'),
        (V2, '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": @}]}'),
        (V2, '{"id": @, "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["aaaa"]}]}'),
        (V2, '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": @}}]}'),
        (MLFLOW, '{"instances": [@]}'),
        (MLFLOW, '{"inputs": {"a": [[[@]]]}}'),
        (MLFLOW, '{"dataframe_split": {"columns": [@], "data": [[1]]}}'),
        *((V1, f'{{"instances": [{{"b64": "aaaa"}}], "parameters": {{"{one}": @}}}}') for one in OPTIONS),
        *((MLFLOW, f'{{"instances": ["aaaa"], "params": {{"{one}": @}}}}') for one in OPTIONS),
    ]
    for path, body in places:
        response = client.post(path, data=body.replace("@", value), content_type="application/json")
        assert response.status_code in (400, 415, 422), (body.replace("@", value))[:200]


OPTIONS = (
    "target",
    "format",
    "outputs",
    "top_k",
    "alpha",
    "contour",
    "at",
    "size",
    "model",
    "legend",
    "threshold",
    "method",
)


@pytest.mark.parametrize("option", ["top_k", "alpha", "threshold", "size", "target", "scale", "output_stride"])
def test_true_is_no_number(client: FlaskClient, option: str) -> None:
    response = client.post(V1, json={"instances": [{"b64": "aaaa"}], "parameters": {option: True}})
    assert response.status_code == 400
    assert f"parameters.{option} True: should be a number" in json.loads(response.data)["detail"]
