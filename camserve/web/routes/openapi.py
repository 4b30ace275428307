"""GET /openapi.json: describes every path, from the views, their pydantic models and the registries."""

import base64
import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from PIL import Image
from pydantic import TypeAdapter
from werkzeug.routing import Rule

from camserve.catalogue.methods import AUTO, METHODS
from camserve.images.reading import OUTPUTS as FORMATS
from camserve.images.reading import encode
from camserve.render.overlay import COLORMAPS
from camserve.version import __version__
from camserve.web.operations import JSON, Operation, gives, operation_of
from camserve.web.problems import ProblemBody, media_type
from camserve.web.request_options import Options, described
from camserve.web.server.protocol_errors import STATUSES
from camserve.web.service import service
from camserve.web.upload import FIELD, FORM

openapi = Blueprint("openapi", __name__)

# Statuses of every operation (some come from the server), and of operations that read a body.
_ALWAYS, _READING = (401, 404, 503, *STATUSES), (408, 413, 415, 422, 429, 504)
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_REFERENCE = "#/components/schemas/{model}"
_BYTES = {"type": "string", "format": "binary"}


@openapi.get("/openapi.json")
@gives(dict[str, Any])
def show() -> Response:
    """This description."""
    return jsonify(describe(current_app))


def describe(app: Flask) -> dict[str, Any]:
    """The description of `app` in the form of OpenAPI 3.1."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        made = operation_of(app.view_functions[rule.endpoint])
        if made is not None:  # all views except the page's form and its files
            words = app.view_functions[rule.endpoint].__doc__ or ""
            path = _PARAMETER.sub(r"{\1}", rule.rule)
            paths.setdefault(path, {}).update(_operation(rule, made, words, schemas))
    _schema(ProblemBody, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "camserve", "version": __version__, "description": "Why did my classifier say that?"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}] if service().settings.serve.token.get_secret_value() else [],
    }


def _operation(rule: Rule, made: Operation, words: str, schemas: dict[str, Any]) -> dict[str, Any]:
    (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    described = {
        "summary": words.strip().split("\n")[0],
        "operationId": f"{rule.endpoint}:{rule.rule}",
        "tags": [rule.endpoint.split(".")[0]],
        "parameters": [*_in_path(rule), *_in_headers(made), *_in_query(made)],
        "responses": _responses(rule.rule, method, made, schemas),
    }
    if content := _content(made, schemas):
        described["requestBody"] = {"required": True, "content": content}
    return {method.lower(): described}


def _in_path(rule: Rule) -> list[dict[str, Any]]:
    known = {"name": {"enum": list(service().shelf.cards())}, "version": {"enum": ["1"]}}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **known.get(name, {})}}
        for name in sorted(rule.arguments)
    ]


def _in_headers(made: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": words, "schema": {"type": "string"}}
        for name, words in made.headers.items()
    ]


def _in_query(made: Operation) -> list[dict[str, Any]]:
    """The options as query parameters: a list is names with commas, and null is left out."""
    needed = [
        {"name": name, "in": "query", "required": True, "description": words, "schema": {"type": "string"}}
        for name, words in made.query.items()
    ]
    options = _options() if made.image else {}
    made_of = (
        {"name": name, "in": "query", "description": one.pop("description"), "schema": _as_text(one)}
        for name, one in options.items()
    )
    return [*needed, *made_of]


def _options() -> dict[str, Any]:
    """{option: schema}, with descriptions and the names in the registries."""
    properties: dict[str, Any] = Options.model_json_schema(ref_template=_REFERENCE)["properties"]
    known = {name: one.choices for name, (one, _) in described().items()}
    known |= {"model": tuple(service().shelf.cards()), "method": (AUTO, *METHODS)}
    for name, (one, _) in described().items():
        kind = properties[name]
        kind["description"] = one.sentence
        if known[name]:
            kind.get("items", kind.get("anyOf", [kind])[0])["enum"] = list(known[name])
    properties["colormap"]["examples"] = list(COLORMAPS)
    return properties


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "array":
        return {"type": "string", "examples": [",".join(schema["items"]["enum"])]}
    several = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    found = {**schema, "anyOf": several} if several else schema
    return {key: value for key, value in found.items() if key != "default" or value is not None}


def _content(made: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if made.image:
        kinds = [*(kind.content_type for kind in FORMATS.values()), "application/octet-stream"]
        content |= {kind: {"schema": _BYTES} for kind in kinds}
        files = {name: {**_BYTES, "description": words} for name, words in made.files.items()}
        content[FORM] = {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BYTES, **files}}}
    if made.body is not None:
        content[JSON] = {"schema": _schema(made.body, schemas), "example": _example(made.body.__name__)}
        schemas.get("Options", {}).get("properties", {}).update(_options())
    return content


def _example(body: str) -> dict[str, Any]:
    image = base64.b64encode(encode(Image.new("RGB", (32, 32), "olive"), "png")).decode()
    if body.startswith("V1"):
        return {"instances": [{"image_bytes": {"b64": image}}], "parameters": {"outputs": ["overlay"]}}
    if body.startswith("Mlflow"):
        return {"dataframe_split": {"columns": ["image"], "data": [[image]]}, "params": {"outputs": ["overlay"]}}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [image]}
    return {"inputs": [tensor], "outputs": [{"name": "scores"}]}


def _responses(path: str, method: str, made: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    content = {kind: {"schema": _schema(answer, schemas)} for kind, answer in made.gives.items()}
    statuses = (*_ALWAYS, *(_READING if method in ("POST", "PUT") else ()), *made.statuses)
    problem = {media_type(path): {"schema": {"$ref": _REFERENCE.format(model=ProblemBody.__name__)}}}
    refused: dict[str, Any] = {str(one): {"description": HTTPStatus(one).phrase} for one in sorted(statuses)}
    for one in set(refused) - {"304"}:
        refused[one]["content"] = problem
    return {str(made.status): {"description": HTTPStatus(made.status).phrase, "content": content}, **refused}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type, as a reference if it has a name. None means bytes."""
    if kind is None:
        return _BYTES
    schema = TypeAdapter(kind).json_schema(ref_template=_REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    if not hasattr(kind, "__annotations__"):
        return schema
    schemas[kind.__name__] = schema
    return {"$ref": _REFERENCE.format(model=kind.__name__)}
