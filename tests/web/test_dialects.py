"""KServe V1, the Open Inference Protocol and the aliases, byte by byte; the real clients are in test_clients.py."""

import base64
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image
from test_web import check_problem_body
from werkzeug.test import TestResponse

import camserve
from camserve.images.reading import encode

NAME = "efficientnet-lite0"
V1, V2 = f"/v1/models/{NAME}", f"/v2/models/{NAME}"
PNG, OTHER = encode(picture(), "png"), encode(picture(1, (64, 80)), "png")
B64 = base64.b64encode(PNG).decode()


def ask(client: FlaskClient, path: str, body: Any, status: int = 200, **more: Any) -> Any:
    response = client.post(path, data=body if isinstance(body, bytes) else json.dumps(body), **more)
    assert response.status_code == status, response.text
    return response.get_json()


# ---- V1


def test_v1_explains_what_python_explains(client: FlaskClient, model: camserve.Model) -> None:
    asked = {"method": "gradcam", "target": 207, "top_k": 2, "outputs": ["overlay", "heatmap"], "alpha": 0.5}
    instances = [{"image_bytes": {"b64": B64}}, {"b64": base64.b64encode(OTHER).decode()}]
    answer = ask(client, f"{V1}:explain", {"instances": instances, "parameters": asked})
    assert (answer["model_name"], answer["model_version"]) == (NAME, "1")
    for given, prediction, explanation in zip((PNG, OTHER), answer["predictions"], answer["explanations"], strict=True):
        made = model.explain(given, method="gradcam", target=207)
        best, second = made.top(2)
        assert prediction == {
            "class_index": best.class_index,
            "class_name": best.class_name,
            "score": best.score,
            "top_k": [vars(best), vars(second)],
        }
        (attribution,) = explanation["attributions"]
        assert (attribution["output_index"], attribution["output_display_name"]) == ([207], "golden retriever")
        assert attribution["instance_output_value"] == made.score
        heatmap = attribution["heatmap"]
        width, height = made.photo.size
        assert (heatmap["shape"], heatmap["datatype"], heatmap["encoding"]) == ([height, width], "FP32", "npy")
        assert np.array_equal(np.load(io.BytesIO(base64.b64decode(heatmap["b64"]))), made.heatmap)
        assert base64.b64decode(attribution["overlay"]["b64"]) == encode(made.overlay(alpha=0.5), "png")
        assert (explanation["method"], explanation["layer"]) == ("gradcam", "head")
        assert explanation["image"] == {"width": width, "height": height}
        assert explanation["warnings"] == list(made.warnings)


@pytest.mark.parametrize(
    "instance",
    [
        {"image_bytes": {"b64": B64}},
        {"image": {"b64": B64}},
        {"b64": B64},
        {"data": B64},
        {"b64": f"data:image/png;base64,{B64}"},
        {"b64": "\n".join(B64[i : i + 76] for i in range(0, len(B64), 76))},
    ],
)
@pytest.mark.parametrize("several", ["instances", "inputs"])
def test_v1_takes_an_image_under_every_name(client: FlaskClient, instance: dict[str, Any], several: str) -> None:
    assert ask(client, f"{V1}:predict", {several: [instance]})["predictions"][0]["top_k"][4]


def test_v1_takes_images_and_forms_as_they_are(client: FlaskClient) -> None:
    raw = ask(client, f"{V1}:explain?target=207&outputs=overlay", PNG, content_type="image/png")
    form = {"image": (io.BytesIO(PNG), "noise.png"), "target": "207", "outputs": "overlay"}
    response = client.post(f"{V1}:explain", data=form, content_type="multipart/form-data")
    asked = {"instances": [{"b64": B64}], "parameters": {"target": 207, "outputs": ["overlay"]}}
    assert raw == response.get_json() == ask(client, f"{V1}:explain", asked)


def test_v1_tells_the_overlay_and_the_heatmap_of_the_predicted_class_by_default(client: FlaskClient) -> None:
    answer = ask(client, f"{V1}:explain", {"instances": [{"b64": B64}]}, content_type="application/json")
    (attribution,) = answer["explanations"][0]["attributions"]
    assert attribution["output_index"] == [answer["predictions"][0]["class_index"]]
    assert {"overlay", "heatmap"} < set(attribution)


def test_v1_lists_models(client: FlaskClient) -> None:
    assert client.get("/v1/models").get_json()["models"][0] == NAME
    assert client.get(V1).get_json() == {"name": NAME, "ready": True}
    check(client.get("/v1/models/nonesuch"), 404, "unknown_model", "unknown model 'nonesuch'")


def check(response: TestResponse, status: int, code: str, said: str) -> None:
    """As of every problem, but plain JSON: KServe's client shows the message only then."""
    assert response.content_type == "application/json"
    check_problem_body(response, status, code, said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body: Invalid JSON"),
        (b"\xff\xd8\xff\xe0", "the body: Invalid JSON"),
        ({}, "instances"),
        ({"instances": []}, "instances []: List should have at least 1 item"),
        ({"instances": [{}]}, 'give one of {"image_bytes": {"b64": ".."}}'),
        ({"instances": [{"b64": B64, "data": B64}]}, "give one of"),
        ({"instances": [{"b64": "/etc/passwd!"}]}, "instances.0 is not base64"),
        ({"instances": [{"b64": "https://example.com/cat.jpg"}]}, "URLs are not fetched"),
        ({"instances": [{"b64": 3}]}, "instances.0.b64 3: should be a valid string"),
        ({"instances": [{"b64": B64}], "parametres": {}}, "parametres {}: is not known here"),
        (
            {"instances": [{"b64": B64}], "parameters": {"metod": "cam"}},
            "unknown option 'metod'; did you mean 'method'",
        ),
        ({"instances": [{"b64": B64}], "parameters": {"method": "grad_cam"}}, "did you mean 'gradcam'"),
        ({"instances": [{"b64": B64}], "parameters": {"alpha": 3}}, "parameters.alpha 3: should be less than or equal"),
        ({"instances": [{"b64": B64}], "parameters": {"model": "x"}}, "the options name 'x'; give only one"),
        ({"instances": [{"bytes": B64}]}, "instances.0.bytes 'iVBORw0"),
    ],
)
def test_v1_errors_say_where(client: FlaskClient, body: Any, said: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body)
    response = client.post(f"{V1}:explain", data=data, content_type="application/json")
    assert response.status_code == 400
    assert said in response.get_json()["error"]
    assert len(response.text) < 3000


def test_v1_holds_one_request_to_the_pixels_of_one_image(client: FlaskClient) -> None:
    large = base64.b64encode(encode(Image.new("L", (6000, 4000)), "png")).decode()
    response = client.post(f"{V1}:predict", json={"instances": [{"b64": large}] * 3})
    check(response, 422, "too_many_pixels", "at least 72 megapixels together; allowed are 50 (limits.megapixels)")


# ---- V2


def infer(client: FlaskClient, status: int = 200, path: str = f"{V2}/infer", **members: Any) -> Any:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [B64]}
    return ask(client, path, {"inputs": [image], **members}, status)


def tensors(answer: Any) -> dict[str, Any]:
    return {one["name"]: one for one in answer["outputs"]}


def test_v2_says_what_it_is(client: FlaskClient) -> None:
    assert client.get("/v2").get_json() == client.get("/v2/").get_json() == {
        "name": "camserve", "version": camserve.__version__, "extensions": ["binary_tensor_data"],
    }  # fmt: skip
    assert client.get("/v2/health/live").get_json() == {"live": True}
    assert client.get("/v2/health/ready").get_json() == {"live": True, "ready": True}
    assert client.get("/v2/models").get_json()["models"][0] == NAME
    metadata = client.get(V2).get_json()
    assert metadata == client.get(f"{V2}/versions/1").get_json()
    assert (metadata["name"], metadata["versions"]) == (NAME, ["1"])
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    kinds = [(one["name"], one["datatype"]) for one in metadata["outputs"]]
    assert kinds == [("scores", "FP32"), ("heatmap", "FP32"), ("overlay_png", "BYTES")]
    assert client.get(f"{V2}/ready").get_json() == client.get(f"{V2}/versions/1/ready").get_json()
    check(client.get(f"{V2}/versions/2"), 404, "unknown_model", f"'{NAME}, version 2'")
    check(client.get("/v2/models/nonesuch/ready"), 404, "unknown_model", "unknown model 'nonesuch'")


def test_a_difference_is_given_with_its_value(client: FlaskClient, model: camserve.Model) -> None:
    made = model.explain(PNG, target="207-208")
    answer = infer(client, parameters={"target": "207-208"})["parameters"]
    assert ("score" in answer, answer["value"]) == (False, made.value)
    body = {"instances": [{"b64": B64}], "parameters": {"target": "207-208"}}
    (attribution,) = ask(client, f"{V1}:explain", body)["explanations"][0]["attributions"]
    assert attribution["instance_output_value"] == made.value


def test_v2_gives_all_outputs_as_json(client: FlaskClient, model: camserve.Model) -> None:
    answer = infer(client, id="job-7", parameters={"method": "gradcam", "target": 207, "priority": 1})
    made = model.explain(PNG, method="gradcam", target=207)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (NAME, "1", "job-7")
    found = tensors(answer)
    assert (found["scores"]["shape"], found["scores"]["datatype"]) == ([1, 1000], "FP32")
    assert made.scores is not None
    assert np.array_equal(np.array(found["scores"]["data"], np.float32), made.scores)
    assert found["heatmap"]["shape"] == [1, 70, 90]
    assert np.array_equal(np.array(found["heatmap"]["data"], np.float32).reshape(70, 90), made.heatmap)
    assert (found["overlay_png"]["shape"], found["overlay_png"]["datatype"]) == ([1], "BYTES")
    assert base64.b64decode(found["overlay_png"]["data"][0]) == encode(made.overlay(), "png")
    facts = answer["parameters"]
    assert (facts["class_index"], facts["class_name"], facts["method"]) == (207, "golden retriever", "gradcam")


@pytest.mark.parametrize("name", ["image", "INPUT__0", "Bild 1"])
def test_v2_takes_an_input_of_any_name(client: FlaskClient, name: str) -> None:
    image = {"name": name, "shape": [1], "datatype": "BYTES", "data": [B64]}
    assert infer(client, inputs=[image])["outputs"] == infer(client)["outputs"]


def test_v2_gives_null_where_the_model_saw_nothing(client: FlaskClient) -> None:
    answer = infer(client, parameters={"size": "crop"}, outputs=[{"name": "heatmap"}])
    assert None in tensors(answer)["heatmap"]["data"]


def test_v2_takes_and_gives_bytes_behind_the_json(client: FlaskClient, model: camserve.Model) -> None:
    elements = b"".join(struct.pack("<I", len(one)) + one for one in (PNG, PNG))
    image = {"name": "image", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(elements)}}
    outputs = [{"name": "overlay_png", "parameters": {"binary_data": True}}, {"name": "scores"}]
    outputs += [{"name": "heatmap", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [image], "outputs": outputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(f"{V2}/infer", data=head + elements, headers=headers)
    assert response.content_type == "application/octet-stream"
    length = int(response.headers["Inference-Header-Content-Length"])
    answer, behind = json.loads(response.data[:length]), response.data[length:]
    found, made = tensors(answer), model.explain(PNG)
    assert made.scores is not None
    assert np.array_equal(np.array(found["scores"]["data"], np.float32).reshape(2, -1)[1], made.scores)
    png = encode(made.overlay(), "png")
    assert behind[: found["overlay_png"]["parameters"]["binary_data_size"]] == 2 * (struct.pack("<I", len(png)) + png)
    heat = np.frombuffer(behind[-found["heatmap"]["parameters"]["binary_data_size"] :], "<f4").reshape(2, 70, 90)
    assert np.array_equal(heat[1], made.heatmap)
    assert answer["parameters"] == {}


def test_v2_takes_a_bare_image(client: FlaskClient, model: camserve.Model) -> None:
    headers = {"Inference-Header-Content-Length": "0"}
    response = client.post(f"{V2}/infer?target=207&outputs=overlay", data=PNG, headers=headers)
    answer = json.loads(response.data[: int(response.headers["Inference-Header-Content-Length"])])
    assert list(tensors(answer)) == ["scores", "overlay_png"]
    assert response.data.endswith(encode(model.explain(PNG, target=207).overlay(), "png"))
    plain = client.post(f"{V2}/infer", data=PNG, content_type="image/png").get_json()
    assert list(tensors(plain)) == ["scores", "heatmap", "overlay_png"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"outputs": [{"name": "heat"}]}, "unknown output 'heat'; did you mean 'heatmap'"),
        ({"outputs": [{"name": "scores", "parameters": {"classification": 3}}]}, "output parameter 'classification'"),
        ({"parameters": {"method": ["cam"]}}, "parameters.method"),
        ({"parameters": {"metod": "cam"}}, "unknown option 'metod'"),
        ({"inputs": []}, "inputs []: List should have at least 1 item"),
        (
            {
                "inputs": [
                    {"name": name, "shape": [1], "datatype": "BYTES", "data": [B64]} for name in ("image", "mask")
                ]
            },
            "the request has 2 inputs, 'image' and 'mask'; give one",
        ),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0.5]}]}, "input 'x' is of 'FP32'"),
        ({"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": [B64]}]}, "[2] and 1 elements"),
        ({"inputs": [{"name": "image", "shape": [0], "datatype": "BYTES", "data": []}]}, "[0] and 0 elements"),
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [1]}]}, "values that are not text"),
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["?"]}]}, "inputs.0.data.0 is not"),
        (
            {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]},
            "binary_data_size of input 'image' is 9; 0 bytes follow the JSON",
        ),
    ],
)
def test_v2_errors_say_where(client: FlaskClient, members: dict[str, Any], said: str) -> None:
    assert said in infer(client, 400, **members)["error"]


@pytest.mark.parametrize(
    ("header", "behind", "said"),
    [
        ("abc", b"", "Inference-Header-Content-Length 'abc' is not a number of bytes"),
        ("99999", b"", "is not a number of bytes up to"),
        (None, b"\x05\x00\x00\x00few", "ends within an element"),
        (None, b"\x05\x00", "ends within an element"),
    ],
)
def test_v2_lengths_that_do_not_add_up(client: FlaskClient, header: str | None, behind: bytes, said: str) -> None:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(behind)}}
    head = json.dumps({"inputs": [image]}).encode()
    headers = {"Inference-Header-Content-Length": header or str(len(head))}
    response = client.post(f"{V2}/infer", data=head + behind, headers=headers)
    check(response, 400, "bad_option", said)


def test_v2_images_of_two_sizes_are_no_tensor_but_have_scores(client: FlaskClient) -> None:
    two = [B64, base64.b64encode(OTHER).decode()]
    inputs = [{"name": "image", "shape": [2], "datatype": "BYTES", "data": [[one] for one in two]}]
    assert "the images differ in size" in infer(client, 400, inputs=inputs)["error"]
    answer = infer(client, inputs=inputs, outputs=[{"name": "scores"}, {"name": "overlay_png"}])
    assert [one["shape"] for one in answer["outputs"]] == [[2, 1000], [2]]


def test_v2_refuses_a_heatmap_too_large_for_json(client: FlaskClient) -> None:
    large = base64.b64encode(encode(Image.new("RGB", (2400, 1800)), "png")).decode()
    inputs = [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [large]}]
    assert '{"binary_data": true}' in infer(client, 400, inputs=inputs)["error"]


# ---- aliases


def test_aliases_answer_as_what_they_stand_for(client: FlaskClient) -> None:
    assert client.get("/ping").status_code == 200
    asked = {"instances": [{"b64": B64}], "parameters": {"outputs": ["mask"]}}
    explained = ask(client, f"{V1}:explain", asked)
    assert ask(client, "/invocations", asked) == ask(client, f"/explanations/{NAME}", asked) == explained
    assert ask(client, f"/predictions/{NAME}", asked) == ask(client, f"{V1}:predict", asked)
    picture = client.post("/invocations?target=3", data=PNG, content_type="image/png")
    assert picture.data == client.post("/api/v1/explain?target=3", data=PNG, content_type="image/png").data
    scores = ask(client, f"/predictions/{NAME}?top_k=2", PNG, content_type="image/png")
    best = explained["predictions"][0]["top_k"][:2]
    assert scores == {one["class_name"]: one["score"] for one in best}


def test_errors_of_aliases_are_problems(client: FlaskClient) -> None:
    response = client.post("/predictions/nonesuch", data=PNG, content_type="image/png")
    assert (response.status_code, response.content_type) == (404, "application/problem+json")


INTEGERS = ("target", "size", "output_stride", "alpha", "scale", "method")


def test_long_values_are_refused_and_not_sent_back(client: FlaskClient) -> None:
    long, tensor = "x" * 2**20, {"name": "image", "datatype": "BYTES", "shape": [1], "data": [B64]}
    digits = int("9" * 4000)
    bodies: list[tuple[str, dict[str, Any]]] = [
        (f"{V1}:explain", {"instances": [{"b64": B64}], "parameters": {"target": long}}),
        (f"{V1}:explain", {"instances": [{"b64": B64}], "parameters": {long: 1}}),
        (f"{V1}:explain", {"instances": [{long: B64}]}),
        *((f"{V1}:explain", {"instances": [{"b64": B64}], "parameters": {one: digits}}) for one in INTEGERS),
        (f"{V2}/infer", {"inputs": [tensor], "id": long}),
        (f"{V2}/infer", {"inputs": [tensor], "parameters": {"target": long}}),
        (f"{V2}/infer", {"inputs": [{**tensor, "name": long}]}),
        (f"{V2}/infer", {"inputs": [{**tensor, "shape": [digits] * 4}]}),
        (f"{V2}/infer", {"inputs": [{**tensor, "shape": [1] * 1_000}]}),
        (f"{V2}/infer", {"inputs": [{**tensor, "parameters": {"binary_data_size": long}}]}),
        (f"{V2}/infer", {"inputs": [tensor], "outputs": [{"name": long}]}),
    ]
    for path, body in bodies:
        answer = ask(client, path, body, 400)
        assert len(json.dumps(answer)) < 5000, (path, list(body))
    ask(client, f"{V2}/infer", PNG, 400, headers={"Inference-Header-Content-Length": "9" * 5000})
