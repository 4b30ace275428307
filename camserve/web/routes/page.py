"""The page at /: upload a photograph and see its explanation. It also works without JavaScript."""

import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request, send_from_directory

from camserve.catalogue.colormaps import COLORMAPS, SIGNED_COLORMAPS, colormap_label, palette
from camserve.catalogue.methods import AUTO, FAMILIES
from camserve.config.schema import shipped
from camserve.version import __version__
from camserve.web.operations import HTML, JSON, Status, gives
from camserve.web.problems import Problem, problem_of
from camserve.web.request_options import Options, described, parse_options
from camserve.web.request_record import record
from camserve.web.responses import overlay_bytes
from camserve.web.routes.api import AUTO_SUMMARY, described_models
from camserve.web.service import service
from camserve.web.upload import read_upload
from camserve.web.work.pricing import demand_of

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

page = Blueprint("page", __name__)

SIZES = {
    "fit": "Whole photo",
    "320": "Whole photo, finer: 320 px",
    "448": "Whole photo, finest: 448 px",
    "crop": "Centre square, as in training",
}
# Names of settings in errors are for the operator, not for visitors. static/service.js has the same pattern.
_SETTING = re.compile(r" \((?:limits|serve|explain|render|compute|models)\.[a-z_]+\)")
# Photographs with sides up to this many pixels are drawn pixel by pixel. static/picture/picture.js has the same number.
_SMALL = 128


@page.get("/")
@gives(types={JSON: Status, HTML: str})
def show() -> Response:
    """The page for browsers; JSON for all other clients, which the KServe V1 client expects."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        response = jsonify(status="alive")
    else:
        response = _render()
    response.vary.add("Accept")
    return response


@page.post("/")
def explain() -> Response:
    """Answer the form without JavaScript: the page with the explanation in it."""
    ours, now = service(), record()
    upload = read_upload(request)
    options = parse_options(upload.fields)

    def work(until: float) -> dict[str, Any]:
        return _result(ours.explain(upload.image, options, now, until), options)

    return _render(result=ours.answered(now, demand_of([upload.image], options), work), chosen=options)


@page.get("/examples/<name>")
def example(name: str) -> Response:
    """An example photograph from photos/."""
    return send_from_directory(shipped("photos"), name, max_age=86400)


@page.errorhandler(Exception)
def _failed(error: Exception) -> Response:
    problem = problem_of(error)
    response = _render(problem=replace(problem, detail=_SETTING.sub("", problem.detail)))
    response.status_code = problem.status
    response.headers.update(problem.headers)
    return response


def _render(
    *, result: dict[str, Any] | None = None, problem: Problem | None = None, chosen: Options | None = None
) -> Response:
    ours = service()
    listed = described_models()
    return make_response(
        render_template(
            "page.html",
            version=__version__,
            settings=ours.settings,
            models=[model["name"] for model in listed if model["available"] or model["default"]],
            broken={model["name"]: model["error"] for model in listed if "error" in model and not model["default"]},
            default_model=ours.shelf.default,
            worded=[model["name"] for model in listed if model.get("takes_labels")],
            families=FAMILIES,
            examples=sorted(path.name for path in shipped("photos").glob("*.jpg")),
            auto=(AUTO, AUTO_SUMMARY),
            sizes=_sizes(str(ours.settings.explain.size)),
            colour_label=colormap_label,
            colormaps={name: palette(name) for name in _colormaps(ours.settings.render.colormap)},
            signed_colormaps={name: palette(name) for name in _signed_colormaps(ours.settings.render.signed_colormap)},
            result=result,
            problem=problem,
            chosen=chosen or Options(),
            said={name: one.sentence for name, (one, _) in described().items()},
        )
    )


def _sizes(default: str) -> dict[str, str]:
    return SIZES if default in SIZES else {default: default, **SIZES}


def _colormaps(default: str) -> list[str]:
    return list(COLORMAPS) if default in COLORMAPS else [default, *COLORMAPS]


def _signed_colormaps(default: str) -> list[str]:
    return list(SIGNED_COLORMAPS) if default in SIGNED_COLORMAPS else [default, *SIGNED_COLORMAPS]


def _own(explanation: "Explanation") -> str | None:
    """The explained class's score in the map's input, in words; None if the scores are of the same input."""
    if explanation.own_logits is None:
        return None
    score = explanation.input_score
    if score is None and explanation.scores is not None:  # a target of two classes
        return None
    return f"{explanation.logit:.3g}" if score is None else f"{100 * score:.1f} %"


def _result(explanation: "Explanation", options: Options) -> dict[str, Any]:
    overlay = overlay_bytes(explanation, options, "jpeg", record().timing)
    return {
        "overlay": "data:image/jpeg;base64," + base64.b64encode(overlay).decode(),
        "small": max(explanation.photo.size) <= _SMALL,
        "explained": explanation.class_index,
        "class_name": explanation.class_name,
        "top": explanation.top(),
        "own": _own(explanation),
        "warnings": explanation.warnings,
        "trust": None if explanation.trust is None else explanation.trust.sentence,
        "facts": f"{explanation.method} at layer {explanation.layer} of {explanation.model_name}",
    }
