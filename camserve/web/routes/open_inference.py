"""The V2 dialect, the Open Inference Protocol. Explanations are outputs of infer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from camserve.errors import ModelNotFound, OptionError, UnknownName, shown
from camserve.images.reading import Source
from camserve.system.json_values import finite
from camserve.version import __version__
from camserve.web.bodies import has_image_body, is_bare_image, parse_json
from camserve.web.operations import JSON, Names, Ready, gives
from camserve.web.request_options import Options, Text, make_options
from camserve.web.request_record import record
from camserve.web.responses import overlay_bytes
from camserve.web.routes.kserve import about, explain_all
from camserve.web.service import VERSION, service
from camserve.web.tensors import HEADER, InputTensor, Scalar, body_of, encoded, images_of
from camserve.web.upload import Upload, options_with, read_bytes, read_upload

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

open_inference = Blueprint("open_inference", __name__, url_prefix="/v2")

INPUT = {"name": "image", "datatype": "BYTES", "shape": [-1]}
OUTPUTS = {
    "scores": {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
    "heatmap": {"name": "heatmap", "datatype": "FP32", "shape": [-1, -1, -1]},
    "overlay_png": {"name": "overlay_png", "datatype": "BYTES", "shape": [-1]},
}
_NAMES = {"overlay": "overlay_png"}
# Parameters of queueing that Triton's client sends. They are ignored.
_IGNORED = {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout"}


class OutputWanted(BaseModel):
    """An output by name. parameters: binary_data."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    parameters: dict[str, Scalar] = {}


class V2Request(BaseModel):
    """The body of infer. parameters: options for all images, and binary_data_output. outputs: default all.

    model_name, model_version: ignored, because the path names the model; KServe's client repeats them.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    id: Text = ""
    model_name: Text | None = None
    model_version: Text | None = None
    parameters: dict[str, Scalar] = {}
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[OutputWanted] = []


class Server(TypedDict):
    """The server and its version."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(TypedDict):
    """An input or output tensor of a model; -1 means any length."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(TypedDict):
    """The inputs and outputs of one model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(TypedDict):
    """A tensor: numbers, or base64 of BYTES; or binary_data_size bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: NotRequired[list[Any]]
    parameters: NotRequired[dict[str, int]]


class Inferred(TypedDict):
    """The answer of infer. parameters: class, method and layer, if there is one image."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]
    outputs: list[OutputTensor]


INFERRED: dict[str, Any] = {JSON: Inferred, "application/octet-stream": None}
LENGTH = {HEADER: "how many bytes of the body are JSON, if binary data follows; 0 means that the body is an image"}


@open_inference.get("/")
@gives(Server)
def server() -> Response:
    """The server, its version and its extensions."""
    return jsonify(name="camserve", version=__version__, extensions=["binary_tensor_data"])


@open_inference.get("/models")
@gives(Names)
def models() -> Response:
    """The names of all models."""
    return jsonify(models=list(service().shelf.cards()))


@open_inference.get("/models/<card:name>")
@open_inference.get("/models/<card:name>/versions/<version>")
@gives(Metadata)
def metadata(name: str, version: str = VERSION) -> Response:
    """The inputs and outputs of one model."""
    _check(name, version)
    return jsonify(name=name, versions=[VERSION], platform="pytorch", inputs=[INPUT], outputs=list(OUTPUTS.values()))


@open_inference.get("/models/<card:name>/ready")
@open_inference.get("/models/<card:name>/versions/<version>/ready")
@gives(Ready)
def ready(name: str, version: str = VERSION) -> Response:
    """Whether a model is ready for requests."""
    _check(name, version)
    service().check_model(name)
    return jsonify(name=name, ready=True)


@open_inference.post("/models/<card:name>/infer")
@open_inference.post("/models/<card:name>/versions/<version>/infer")
@gives(types=INFERRED, body=V2Request, image=True, headers=LENGTH)
def infer(name: str, version: str = VERSION) -> Response:
    """The scores of each image, its heatmap and its overlay."""
    _check(name, version)
    asked = _read(name)
    heatmap = "heatmap" in asked.wanted
    made = explain_all(asked.images, asked.options, lambda one: (_facts(one), _tensors(one, asked)), heatmap=heatmap)
    answer = {**about(name), "id": asked.id, "parameters": made[0][0] if len(made) == 1 else {}}
    outputs = [encoded(each, [row[each] for _, row in made], binary) for each, binary in asked.wanted.items()]
    body, json_length = body_of(answer, outputs)
    if not any(asked.wanted.values()):
        return Response(body, content_type="application/json")
    return Response(body, headers={HEADER: str(json_length)}, content_type="application/octet-stream")


@dataclass(frozen=True)
class Asked:
    """A request to infer. wanted: by output name, whether it is sent as binary data."""

    id: str
    images: list[Source]
    options: Options
    wanted: dict[str, bool]


def _check(name: str, version: str) -> None:
    service().shelf.card(name)
    if version != VERSION:
        raise ModelNotFound(f"{name}, version {version}", [f"{name}, version {VERSION}"])


def _read(name: str) -> Asked:
    header = request.headers.get(HEADER)
    if header == "0" or (header is None and has_image_body(request)):
        return _read_image(name, binary=header is not None)
    data = read_bytes(request)
    if header is None and is_bare_image(request, data):
        return _asked(name, Upload(data), binary=False)
    length = len(data) if header is None else _json_length(header, len(data))
    body = parse_json(data[:length], V2Request)
    given = {key: value for key, value in body.parameters.items() if key not in _IGNORED}
    binary = bool(given.pop("binary_data_output", False))
    options = make_options(given).for_model(name)
    return Asked(body.id, images_of(body.inputs, data[length:]), options, _wanted(body.outputs, binary))


def _read_image(name: str, *, binary: bool) -> Asked:
    """Read an image as the whole body. Options come in the query. binary: the header says that the body has no JSON."""
    return _asked(name, Upload(read_bytes(request)) if binary else read_upload(request), binary=binary)


def _asked(name: str, upload: Upload, *, binary: bool) -> Asked:
    options = options_with(request, upload).for_model(name)
    names = ["scores", *(_NAMES.get(each, each) for each in options.outputs)] if options.outputs else list(OUTPUTS)
    return Asked("", [upload.image], options, _wanted([OutputWanted(name=each) for each in names], binary))


def _json_length(header: str, size: int) -> int:
    if not header.isdecimal() or len(header) > len(str(size)) or int(header) > size:
        raise OptionError(f"{HEADER} {shown(header)} is not a number of bytes up to {size}, the length of the body")
    return int(header)


def _wanted(outputs: Sequence[OutputWanted], binary: bool) -> dict[str, bool]:
    for one in outputs:
        if one.name not in OUTPUTS:
            raise UnknownName("output", one.name, OUTPUTS)
        if strangers := set(one.parameters) - {"binary_data"}:
            raise UnknownName("output parameter", strangers.pop(), ["binary_data"])
    named = {one.name: bool(one.parameters.get("binary_data", binary)) for one in outputs}
    return named or dict.fromkeys(OUTPUTS, binary)


def _facts(made: "Explanation") -> dict[str, Any]:
    facts = {
        "class_index": made.class_index,
        "class_name": made.class_name,
        "score": finite(made.score),
        "target": made.target.name,
        "value": finite(made.value) if made.score is None else None,
        "method": made.method,
        "layer": made.layer,
        "warnings": "; ".join(made.warnings),
        "trust": None if made.trust is None else made.trust.sentence,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _tensors(made: "Explanation", asked: Asked) -> dict[str, Any]:
    timing, rows = record().timing, dict[str, Any]()
    if "scores" in asked.wanted:
        rows["scores"] = made.logits if made.scores is None else made.scores
    if "heatmap" in asked.wanted:
        with timing("render"):
            rows["heatmap"] = made.heatmap
    if "overlay_png" in asked.wanted:
        rows["overlay_png"] = overlay_bytes(made, asked.options, "png", timing)
    return rows
