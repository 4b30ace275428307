"""Whether the process lives, and whether it can take work."""

from flask import Blueprint, Response, jsonify

from camserve.web.operations import Status, gives
from camserve.web.service import service

health = Blueprint("health", __name__)


@health.get("/livez")
@gives(Status)
def livez() -> Response:
    """200 as long as the process answers at all; a failure means: restart it."""
    return jsonify(status="alive")


@health.get("/readyz")
@health.get("/healthz")
@health.get("/ping")
@gives(Status)
def readyz() -> Response:
    """200 once the model is loaded, 503 while loading and when shutting down: send no requests then."""
    service().check_ready()
    return jsonify(status="ready")


@health.get("/v2/health/live")
@gives(dict[str, bool])
def live() -> Response:
    """As /livez, in the words of the Open Inference Protocol."""
    return jsonify(live=True)


@health.get("/v2/health/ready")
@gives(dict[str, bool])
def ready() -> Response:
    """As /readyz, in the words of the Open Inference Protocol."""
    service().check_ready()
    return jsonify(live=True, ready=True)
