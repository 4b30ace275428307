"""The native dialect, /api/v1: for people, curl and the page."""

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request

from camserve.cards import read_card
from camserve.methods import AUTO, METHODS
from camserve.web.answer import answer, choose_type, etag, unchanged
from camserve.web.options import parse_options
from camserve.web.record import record
from camserve.web.service import service
from camserve.web.shelf import BROKEN, READY
from camserve.web.upload import options_with, read_upload

api = Blueprint("api", __name__, url_prefix="/api/v1")

AUTO_SUMMARY = "the exact map where the model's head allows one, Grad-CAM elsewhere"


@api.post("/explain")
def explain() -> Response:
    """One image in, its explanation out. What can be refused without reading the body is."""
    ours, now = service(), record()
    choose_type(request, parse_options(request.args.items(multi=True)))
    upload = read_upload(request)
    options = options_with(request, upload)
    kind = choose_type(request, options)
    if (
        request.if_none_match
        and (tag := etag(ours.model(options.model), upload, options, kind)) in request.if_none_match
    ):
        return unchanged(tag)
    with ours.gate.turn(now.timing) as until:
        explanation = ours.explain(upload.image, options, now, until)
        response = answer(explanation, options, kind, now.timing)
    response.set_etag(etag(explanation.model, upload, options, kind))
    return response


@api.get("/models")
def models() -> Response:
    """Every model a request may name."""
    return jsonify(models=[describe_model(name, path) for name, path in service().shelf.cards().items()])


@api.get("/models/<card:name>/layers")
def layers(name: str) -> Response:
    """The layers of one model that can be explained, in the order of the network."""
    model = service().model(name)
    return jsonify(model=name, default=model.default_layer, layers=list(model.layers()))


@api.get("/methods")
def methods() -> Response:
    """Every explanation method, "auto" first."""
    auto = {"name": AUTO, "title": "automatic", "summary": AUTO_SUMMARY}
    return jsonify(methods=[auto, *(method.described() for method in METHODS.values())])


def describe_model(name: str, path: Path) -> dict[str, Any]:
    """One entry of the list. available: whether card and files are in place; loaded: whether in memory."""
    shelf = service().shelf
    state = shelf.state(name)
    entry: dict[str, Any] = {"name": name, "default": name == shelf.default, "loaded": state == READY}
    if state == BROKEN:
        return {**entry, "available": False}
    card = read_card(path)
    return {
        **entry,
        "available": True,
        "licence": card.licence,
        "source": card.source,
        "input_size": card.input.size,
    }
