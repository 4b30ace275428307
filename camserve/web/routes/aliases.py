"""Paths for clients of other servers: SageMaker, MLflow, TorchServe."""

from flask import Blueprint, Response, jsonify, request

from camserve.errors import ImageTypeError, ModelNotFound
from camserve.web.bodies import has_image_body, read_body
from camserve.web.mlflow import MOST_VALUES, MlflowRequest
from camserve.web.operations import gives
from camserve.web.routes import api, kserve
from camserve.web.service import VERSION, service
from camserve.web.upload import Upload

aliases = Blueprint("aliases", __name__)

# The first version of a model in TorchServe's tools, and in this service.
_VERSIONS = ("1.0", VERSION)


@aliases.post("/invocations")
@gives(types=api.ANSWERS, body=MlflowRequest, image=True, statuses=(304, 406), headers=api.NONE_MATCH)
def invocations() -> Response:
    """SageMaker, MLflow: answers an image like /api/v1/explain, and JSON like :explain of the default model."""
    if has_image_body(request):
        return api.explain()
    if request.mimetype == "text/csv":  # MLflow's own tools send tables of numbers as CSV
        raise ImageTypeError("Content-Type 'text/csv' is not accepted; send JSON with dataframe_split, or an image")
    body = read_body(request, MlflowRequest, MOST_VALUES)
    if isinstance(body, Upload):
        return api.explained(body)
    return kserve.explained(body.take_images(), body.parameters.for_model(service().shelf.default))


# TorchServe's documentation sends images with curl -T, which is a PUT.
@aliases.put("/explanations/<card:name>", endpoint="put_explanations")
@aliases.post("/explanations/<card:name>")
@gives(kserve.Explanations, body=kserve.V1Request, image=True)
def explanations(name: str) -> Response:
    """TorchServe: answers like :explain."""
    return kserve.explain(name)


@aliases.put("/predictions/<card:name>/<version>", endpoint="put_predictions_of_version")
@aliases.put("/predictions/<card:name>", endpoint="put_predictions")
@aliases.post("/predictions/<card:name>/<version>")
@aliases.post("/predictions/<card:name>")
@gives(kserve.Predictions | dict[str, float], body=kserve.V1Request, image=True)
def predictions(name: str, version: str = VERSION) -> Response:
    """TorchServe: answers an image with {class name: score}, like its image classifiers, and JSON like :predict."""
    if version not in _VERSIONS:
        raise ModelNotFound(f"{name}, version {version}", [f"{name}, version {one}" for one in _VERSIONS])
    body = read_body(request, kserve.V1Request)
    images, options = kserve.given(body)
    options = options.for_model(name)
    if not isinstance(body, Upload):
        return kserve.predicted(images, options)
    (only,) = kserve.predictions_of(images, options)
    best_last = reversed(only["top_k"])  # if classes share a name, the best score stays
    found = {one["class_name"]: one["logit" if one["score"] is None else "score"] for one in best_last}
    return jsonify(dict(reversed(found.items())))
