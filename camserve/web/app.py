"""START HERE: the Flask application, with one blueprint per dialect over one Service."""

from flask import Flask
from werkzeug.routing import BaseConverter

from camserve import config
from camserve.web import problems as problem
from camserve.web.auth import protect
from camserve.web.logs import log_requests
from camserve.web.other_origins import answer_other_origins
from camserve.web.request_record import keep_records
from camserve.web.routes.aliases import aliases
from camserve.web.routes.api import api
from camserve.web.routes.api_docs import api_docs
from camserve.web.routes.classes import classes
from camserve.web.routes.health import health
from camserve.web.routes.jobs import jobs
from camserve.web.routes.kserve import kserve
from camserve.web.routes.open_inference import open_inference
from camserve.web.routes.openapi import openapi
from camserve.web.routes.page import page
from camserve.web.routes.prometheus import keep_metrics
from camserve.web.service import EXTENSION, Service
from camserve.web.traces import exporting, keep_traces
from camserve.web.upload import PARTS, UploadRequest
from camserve.web.work.admission import ENVELOPE_BYTES


class CardName(BaseConverter):
    """The name of a model in a path. It contains no ':', so that `x:explain` is not a name."""

    regex = "[^/:]+"


def create_app(settings: config.Settings | None = None, *, service: Service | None = None) -> Flask:
    """Create the WSGI application.

    settings: default the settings of the process. service: a Service that the caller loads and closes. Without it, a
    new Service loads in the background, and requests get 503 until it is ready. Raises ModelNotFound.
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
    keep_records(app)
    log_requests(app)
    keep_metrics(app, service)
    answer_other_origins(app, service.settings.serve)
    protect(app, service.settings)
    if service.settings.serve.traces:
        keep_traces(app, exporting())
    for blueprint in (api, classes, jobs, kserve, open_inference, aliases, openapi, api_docs, health, page):
        app.register_blueprint(blueprint)
    return app
