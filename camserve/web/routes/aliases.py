"""Where clients of other servers knock: SageMaker, MLflow, TorchServe."""

from flask import Blueprint, Response, jsonify, request

from camserve.web.bodies import has_image_body
from camserve.web.operations import gives
from camserve.web.routes import api, kserve
from camserve.web.service import service

aliases = Blueprint("aliases", __name__)


@aliases.post("/invocations")
@gives(types=api.ANSWERS, body=kserve.V1Request, image=True, statuses=(304, 406), headers=api.NONE_MATCH)
def invocations() -> Response:
    """SageMaker, MLflow: an image is answered as on /api/v1/explain, JSON as on :explain of the default model."""
    return api.explain() if has_image_body(request) else kserve.explain(service().shelf.default)


@aliases.post("/explanations/<card:name>")
@gives(kserve.Explanations, body=kserve.V1Request, image=True)
def explanations(name: str) -> Response:
    """TorchServe: as :explain."""
    return kserve.explain(name)


@aliases.post("/predictions/<card:name>")
@gives(kserve.Predictions | dict[str, float], body=kserve.V1Request, image=True)
def predictions(name: str) -> Response:
    """TorchServe: for an image {class name: score}, as its image classifiers answer; for JSON as :predict."""
    answer = kserve.predict(name)
    if not has_image_body(request):
        return answer
    (only,) = answer.get_json()["predictions"]
    return jsonify({one["class_name"]: one["logit" if one["score"] is None else "score"] for one in only["top_k"]})
