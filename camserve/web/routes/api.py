"""The native dialect, /api/v1, for people, curl and the page."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NotRequired

from flask import Blueprint, Response, jsonify, request
from typing_extensions import TypedDict

from camserve.catalogue.class_sentences import ZERO_SHOT
from camserve.catalogue.methods import AUTO, METHODS
from camserve.models.card import Seen
from camserve.web.model_store import BROKEN, READY
from camserve.web.operations import JSON, gives
from camserve.web.request_options import Options, parse_options
from camserve.web.request_record import record
from camserve.web.responses import IMAGES, NPY, ZIP, answer, choose_type, etag, unchanged
from camserve.web.service import LIKE, Found, service
from camserve.web.upload import Upload, options_with, read_upload
from camserve.web.work.pricing import demand_of

api = Blueprint("api", __name__, url_prefix="/api/v1")

AUTO_SUMMARY = "the exact map if the model's head allows one, or else Grad-CAM"


class ModelEntry(TypedDict):
    """A model that a request may name. available: its card and files are complete. loaded: it is in memory.

    takes_labels: whether its classes are sentences that a request may choose. error: what is wrong with it.
    """

    name: str
    default: bool
    loaded: bool
    available: bool
    licence: NotRequired[str]
    source: NotRequired[str]
    input_size: NotRequired[int | list[int]]
    takes_labels: NotRequired[bool]
    error: NotRequired[str]


class Models(TypedDict):
    """Every model that a request may name."""

    models: list[ModelEntry]


class Layers(TypedDict):
    """The layers of a model that can be explained, in the order of the network.

    outputs: the outputs of a network with several, as values of the option output; [] for a network with one.
    """

    model: str
    default: str
    layers: list[str]
    outputs: list[str]


class Classes(TypedDict):
    """The names of a model's classes, in the order of their indices."""

    model: str
    classes: list[str]


class Forecast(TypedDict):
    """The estimated seconds of one method, or the reason why it cannot explain the model."""

    name: str
    seconds: NotRequired[float]
    reason: NotRequired[str]


class Forecasts(TypedDict):
    """The estimates for all methods. deadline_seconds: the time limit of an answer; longer methods are refused.

    job_seconds: the time limit of a job; 0 if the service takes no jobs.
    """

    deadline_seconds: float
    job_seconds: float
    methods: list[Forecast]


class Methods(TypedDict):
    """Every explanation method, with facts about it."""

    methods: list[dict[str, Any]]


ANSWERS: dict[str, Any] = {**dict.fromkeys(IMAGES), JSON: dict[str, Any], NPY: None, ZIP: None}
LIKE_FILE = {LIKE: "another image: explains why the two are similar to the network, with a map for each"}
NONE_MATCH = {"If-None-Match": "the ETag of an answer that the caller has"}


@api.post("/explain")
@gives(types=ANSWERS, image=True, statuses=(304, 406), headers=NONE_MATCH, files=LIKE_FILE)
def explain() -> Response:
    """Explain one image. Wrong options in the query are refused before the body is read."""
    choose_type(request, parse_options(request.args.items(multi=True)))
    return explained(read_upload(request, two=True))


def explained(upload: Upload, options: Options | None = None, found: Found | None = None) -> Response:
    """The explanation of an uploaded image, as the requested media type.

    options: default those of the request. found: the result of a job.
    """
    ours, now = service(), record()
    options = options or options_with(request, upload)
    kind = choose_type(request, options)

    def tag_of(model: Mapping[str, Any], digests: tuple[str, ...]) -> str:
        return etag(model, ours.settings, upload, options, kind, digests)

    if request.if_none_match:
        tag = tag_of(ours.loaded(options.model, options.output).described, upload.digests)
        if is_known(tag):
            return unchanged(tag)

    def work(until: float) -> Response:
        seen = kind != JSON or "overlay" in (options.outputs or ())
        like = None if upload.like is None else upload.like.image
        explanation = (
            ours.explain(upload.image, options, now, until, like=like, seen=seen)
            if found is None
            else ours.shown(upload.image, options, now, until, found, like)
        )
        response = answer(explanation, options, kind, now.timing)
        read = (explanation,) if explanation.other is None else (explanation, explanation.other)
        response.set_etag(tag_of(explanation.origin.model, tuple(one.photo.sha256 for one in read)))
        return response

    about = demand_of(upload.images, options, heatmap=kind in (NPY, ZIP))
    return ours.answered(now, replace(about, known=found is not None), work)


def is_known(tag: str) -> bool:
    """Whether the caller has the answer with this ETag, strong or weak: a compressing proxy makes ETags weak."""
    return request.if_none_match.is_strong(tag) or request.if_none_match.is_weak(tag)


@api.get("/models")
@gives(Models)
def models() -> Response:
    """The models that a request may name."""
    return jsonify(models=described_models())


@api.get("/models/<card:name>/layers")
@gives(Layers, statuses=(504,))
def layers(name: str) -> Response:
    """The layers of one model that can be explained, in the order of the network."""
    model = service().loaded(name)
    outputs = [] if model.output is None else list(model.outputs)
    return jsonify(model=name, default=model.default_layer, layers=list(model.layers()), outputs=outputs)


@api.get("/models/<card:name>/classes")
@gives(Classes, statuses=(504,))
def classes(name: str) -> Response:
    """The names of a model's classes."""
    return jsonify(model=name, classes=list(service().loaded(name).labels))


@api.post("/explain/forecast")
@gives(Forecasts, image=True)
def forecast() -> Response:
    """The estimated time of every method on an image, or why it cannot explain the model. No method is run."""
    ours, now = service(), record()
    upload = read_upload(request)
    options = options_with(request, upload)
    about = replace(demand_of([upload.image], options), measuring=True)
    seconds, reasons = ours.answered(now, about, lambda until: ours.forecast(upload.image, options, now, until))
    found: list[Forecast] = [
        {"name": name, "reason": reasons[name]} if name in reasons else {"name": name, "seconds": round(takes, 3)}
        for name, takes in seconds.items()
    ]
    serve = ours.settings.serve
    return jsonify(deadline_seconds=serve.deadline_seconds, job_seconds=serve.job_limit, methods=found)


@api.get("/methods")
@gives(Methods)
def methods() -> Response:
    """Every explanation method, "auto" first."""
    auto = {"name": AUTO, "title": "automatic", "summary": AUTO_SUMMARY}
    return jsonify(methods=[auto, *(method.described() for method in METHODS.values())])


def described_models() -> list[ModelEntry]:
    """The entries of the list of models, the default first."""
    return [_entry(name, *one) for name, one in service().shelf.listed().items()]


def _entry(name: str, state: str, seen: Seen) -> ModelEntry:
    entry: ModelEntry = {
        "name": name,
        "default": name == service().shelf.default,
        "loaded": state == READY,
        "available": state != BROKEN,
    }
    if entry["available"] and seen.card is not None:
        size = seen.card.input.size
        entry |= {"licence": seen.card.licence, "source": seen.card.source}
        entry["input_size"] = size if isinstance(size, int) else list(size)
        entry["takes_labels"] = seen.card.architecture.startswith(ZERO_SHOT)
    if seen.error is not None:
        entry["error"] = seen.error
    return entry
