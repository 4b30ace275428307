"""START HERE: the Flask application, put together from one blueprint per dialect over one Service."""

import re
import uuid

from flask import Flask, Response, g, request
from werkzeug.routing import BaseConverter

from camserve import config
from camserve.web import problem
from camserve.web.access import protect
from camserve.web.api import api
from camserve.web.health import health
from camserve.web.page import page
from camserve.web.service import EXTENSION, Service
from camserve.web.upload import ENVELOPE_BYTES, PARTS, UploadRequest

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_SANE_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


class CardName(BaseConverter):
    """The name of a model in a path. Without ':', or `x:explain` would be taken for a name."""

    regex = "[^/:]+"


def create_app(settings: config.Settings | None = None, *, service: Service | None = None) -> Flask:
    """The WSGI application.

    settings: default the process's own. service: one that the caller loads and closes; without it one is made
    and loaded in the background, and requests get 503 until that is done. Raises ModelNotFound.
    """
    if service is None:
        service = Service(settings or config.settings())
        service.load_in_background()
    app = Flask(__name__)
    app.request_class = UploadRequest
    app.config.update(
        MAX_CONTENT_LENGTH=service.settings.limits.max_bytes + ENVELOPE_BYTES,
        MAX_FORM_PARTS=PARTS,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.url_map.converters["card"] = CardName
    app.extensions[EXTENSION] = service
    problem.register(app)
    app.before_request(_name_request)
    protect(app, service.settings)
    app.after_request(_add_headers)
    for blueprint in (api, health, page):
        app.register_blueprint(blueprint)
    return app


def _name_request() -> None:
    """Take the caller's request id where it is fit for a log, else make one."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _add_headers(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.headers.update(HEADERS)
    return response
