"""Where clients of other servers knock: SageMaker, MLflow, TorchServe."""

from flask import Blueprint, Response, jsonify, request

from camserve.errors import ImageTypeError, ModelNotFound
from camserve.web.bodies import has_image_body, read_body
from camserve.web.mlflow import MOST_VALUES, MlflowRequest
from camserve.web.operations import gives
from camserve.web.routes import api, kserve
from camserve.web.service import VERSION, service
from camserve.web.upload import Upload

aliases = Blueprint("aliases", __name__)

# As TorchServe's tools number a model's first version, and as ours are.
_VERSIONS = ("1.0", VERSION)


@aliases.post("/invocations")
@gives(types=api.ANSWERS, body=MlflowRequest, image=True, statuses=(304, 406), headers=api.NONE_MATCH)
def invocations() -> Response:
    """SageMaker, MLflow: an image is answered as on /api/v1/explain, JSON as on :explain of the default model."""
    if has_image_body(request):
        return api.explain()
    if request.mimetype == "text/csv":  # MLflow's own tools send tables of numbers so
        raise ImageTypeError("Content-Type 'text/csv' is not taken; send JSON with dataframe_split, or an image")
    body = read_body(request, MlflowRequest, MOST_VALUES)
    if isinstance(body, Upload):
        return api.explained(body)
    return kserve.explained(body.take_images(), body.parameters.for_model(service().shelf.default))


# curl's -T is TorchServe's own way to send an image, and a PUT.
@aliases.put("/explanations/<card:name>", endpoint="put_explanations")
@aliases.post("/explanations/<card:name>")
@gives(kserve.Explanations, body=kserve.V1Request, image=True)
def explanations(name: str) -> Response:
    """TorchServe: as :explain."""
    return kserve.explain(name)


@aliases.put("/predictions/<card:name>/<version>", endpoint="put_predictions_of_version")
@aliases.put("/predictions/<card:name>", endpoint="put_predictions")
@aliases.post("/predictions/<card:name>/<version>")
@aliases.post("/predictions/<card:name>")
@gives(kserve.Predictions | dict[str, float], body=kserve.V1Request, image=True)
def predictions(name: str, version: str = VERSION) -> Response:
    """TorchServe: for an image {class name: score}, as its image classifiers answer; for JSON as :predict."""
    if version not in _VERSIONS:
        raise ModelNotFound(f"{name}, version {version}", [f"{name}, version {one}" for one in _VERSIONS])
    body = read_body(request, kserve.V1Request)
    images, options = kserve.given(body)
    options = options.for_model(name)
    if not isinstance(body, Upload):
        return kserve.predicted(images, options)
    (only,) = kserve.predictions_of(images, options)
    best_last = reversed(only["top_k"])  # of classes with one name the best one's score stays
    found = {one["class_name"]: one["logit" if one["score"] is None else "score"] for one in best_last}
    return jsonify(dict(reversed(found.items())))
