"""The clients that people have, as they are, against the real service."""

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import camserve
from camserve.images.reading import encode

kserve: Any = pytest.importorskip("kserve")
http: Any = pytest.importorskip("tritonclient.http")

NAME = "efficientnet-lite0"


def rest(protocol: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use` gives for KServe's REST client."""

    async def run() -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol=protocol, timeout=30))
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(run())


def test_kserve_v1(server: str, cat: Path, model: camserve.Model) -> None:
    data = {
        "instances": [{"image_bytes": {"b64": base64.b64encode(cat.read_bytes()).decode()}}],
        "parameters": {"method": "gradcam", "target": "tiger cat", "outputs": ["overlay", "heatmap"]},
    }

    async def use(client: Any) -> Any:
        assert await client.is_server_live(server)
        assert await client.is_model_ready(server, NAME)
        return await client.infer(server, data, model_name=NAME), await client.explain(server, NAME, data)

    predicted, explained = rest("v1", use)
    made = model.explain(cat, method="gradcam", target="tiger cat")
    assert predicted["predictions"] == explained["predictions"]
    assert predicted["predictions"][0]["class_name"] == made.top(1)[0].class_name
    (attribution,) = explained["explanations"][0]["attributions"]
    assert np.array_equal(np.load(io.BytesIO(base64.b64decode(attribution["heatmap"]["b64"]))), made.heatmap)
    assert base64.b64decode(attribution["overlay"]["b64"]) == encode(made.overlay(), "png")


def test_kserve_v1_shows_our_words(server: str) -> None:
    import httpx

    async def use(client: Any) -> Any:
        with pytest.raises(httpx.HTTPStatusError, match="unknown option 'metod'; did you mean 'method'"):
            await client.infer(server, {"instances": [{"b64": ""}], "parameters": {"metod": 1}}, model_name=NAME)
        with pytest.raises(httpx.HTTPStatusError, match="unknown model 'nonesuch'"):
            await client.is_model_ready(server, "nonesuch")

    rest("v1", use)


@pytest.mark.parametrize("binary", [False, True])
def test_kserve_v2(server: str, cat: Path, model: camserve.Model, binary: bool) -> None:
    from kserve.protocol.infer_type import RequestedOutput

    image = kserve.InferInput("image", [1], "BYTES")
    element = cat.read_bytes() if binary else base64.b64encode(cat.read_bytes()).decode()
    image.set_data_from_numpy(np.array([element], dtype=object), binary_data=binary)
    wanted = [RequestedOutput(one, {"binary_data": binary}) for one in ("scores", "heatmap")]
    asked = kserve.InferRequest(
        model_name=NAME, infer_inputs=[image], request_outputs=wanted, request_id="job-7", parameters={"target": "cup"}
    )

    async def use(client: Any) -> Any:
        assert await client.is_server_live(server)
        assert await client.is_server_ready(server)
        assert await client.is_model_ready(server, NAME)
        return await client.infer(server, asked, model_name=NAME)

    answer = rest("v2", use)
    made = model.explain(cat, target="cup")
    assert (answer.id, answer.model_name) == ("job-7", NAME)
    assert made.scores is not None
    assert np.array_equal(answer.get_output_by_name("scores").as_numpy()[0], made.scores)
    assert np.array_equal(answer.get_output_by_name("heatmap").as_numpy()[0], made.heatmap)


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_triton_s_client(server: str, cat: Path, model: camserve.Model, binary_in: bool, binary_out: bool) -> None:
    image = http.InferInput("image", [1], "BYTES")
    element = cat.read_bytes() if binary_in else base64.b64encode(cat.read_bytes())
    image.set_data_from_numpy(np.array([element], dtype=object), binary_data=binary_in)
    wanted = [http.InferRequestedOutput(one, binary_data=binary_out) for one in ("scores", "heatmap", "overlay_png")]
    with http.InferenceServerClient(server.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        assert client.is_model_ready(NAME, "1")
        assert client.get_server_metadata()["name"] == "camserve"
        assert client.get_model_metadata(NAME)["inputs"][0]["name"] == "image"
        result = client.infer(
            NAME, [image], outputs=wanted, request_id="job-7", parameters={"method": "layercam", "target": "cup"}
        )
    made = model.explain(cat, method="layercam", target="cup")
    assert result.get_response()["id"] == "job-7"
    assert made.scores is not None
    assert np.array_equal(result.as_numpy("scores")[0], made.scores)
    assert np.array_equal(result.as_numpy("heatmap")[0], made.heatmap)
    overlay = result.as_numpy("overlay_png")[0]
    assert (overlay if binary_out else base64.b64decode(overlay)) == encode(made.overlay(), "png")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True])
def test_triton_s_client_may_compress_and_call_the_input_what_it_likes(
    server: str, cat: Path, model: camserve.Model, coding: str, binary: bool
) -> None:
    image = http.InferInput("INPUT__0", [1], "BYTES")
    element = cat.read_bytes() if binary else base64.b64encode(cat.read_bytes())
    image.set_data_from_numpy(np.array([element], dtype=object), binary_data=binary)
    with http.InferenceServerClient(server.removeprefix("http://")) as client:
        result = client.infer(
            NAME, [image], request_compression_algorithm=coding, response_compression_algorithm=coding
        )
    assert np.array_equal(result.as_numpy("heatmap")[0], model.explain(cat).heatmap)


def test_triton_s_client_shows_which_inputs_there_are(server: str, cat: Path) -> None:
    images = [http.InferInput(name, [1], "BYTES") for name in ("left", "right")]
    for image in images:
        image.set_data_from_numpy(np.array([cat.read_bytes()], dtype=object))
    with (
        http.InferenceServerClient(server.removeprefix("http://")) as client,
        pytest.raises(http.InferenceServerException, match="2 inputs, 'left' and 'right'"),
    ):
        client.infer(NAME, images)


def test_triton_s_client_without_outputs_gets_all(server: str, cat: Path, model: camserve.Model) -> None:
    image = http.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([cat.read_bytes()], dtype=object))
    with http.InferenceServerClient(server.removeprefix("http://")) as client:
        result = client.infer(NAME, [image])
        with pytest.raises(http.InferenceServerException, match="unknown option 'metod'"):
            client.infer(NAME, [image], parameters={"metod": "cam"})
    made = model.explain(cat)
    assert np.array_equal(result.as_numpy("heatmap")[0], made.heatmap)
    assert result.as_numpy("overlay_png")[0] == encode(made.overlay(), "png")
    assert json.loads(json.dumps(result.get_response()))["parameters"]["class_name"] == made.class_name
