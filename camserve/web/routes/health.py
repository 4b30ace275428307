"""Health checks: whether the process is alive, and whether it is ready for requests."""

from flask import Blueprint, Response, jsonify

from camserve.web.operations import Status, gives
from camserve.web.service import service

health = Blueprint("health", __name__)


@health.get("/livez")
@gives(Status)
def livez() -> Response:
    """200 while the process is alive. If it fails, restart the process."""
    return jsonify(status="alive")


@health.get("/readyz")
@health.get("/healthz")
@health.get("/ping")
@gives(Status)
def readyz() -> Response:
    """200 when the model is loaded; 503 while it loads, and during shutdown. Send no requests on 503."""
    service().check_ready()
    return jsonify(status="ready")


@health.get("/v2/health/live")
@gives(dict[str, bool])
def live() -> Response:
    """The same as /livez, in the form of the Open Inference Protocol."""
    return jsonify(live=True)


@health.get("/v2/health/ready")
@gives(dict[str, bool])
def ready() -> Response:
    """The same as /readyz, in the form of the Open Inference Protocol."""
    service().check_ready()
    return jsonify(live=True, ready=True)
