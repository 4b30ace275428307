"""An explanation as JSON: what was found, and what it takes to find it again."""

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch

import camserve
from camserve.plain import finite
from camserve.questions import Questions

if TYPE_CHECKING:
    from camserve.explanation import Explanation


def facts_of(explanation: "Explanation", top: int, threshold: float, questions: Questions) -> dict[str, Any]:
    """What `Explanation.to_dict` gives. threshold: a share of the maximum, 0..1."""
    facts = {
        "class_index": explanation.class_index,
        "class_name": explanation.class_name,
        "score": explanation.score,
        "logit": explanation.logit,
        "target": {
            "name": explanation.target.name,
            "quantity": explanation.target.quantity,
            "value": explanation.value,
        },
        "top": [vars(answer) for answer in explanation.top(top)],
        "map": explanation.map.tolist(),
        "unit": explanation.unit,
        "boxes": [vars(box) for box in explanation.boxes(threshold)],
        "threshold": threshold,
        **questions.answers(explanation, top, threshold),
        "completeness": explanation.completeness,
        "warnings": list(explanation.warnings),
        "provenance": explanation.provenance(),
    }
    return {key: finite(value) for key, value in facts.items()}


def provenance_of(explanation: "Explanation") -> dict[str, Any]:
    """What `Explanation.provenance` gives."""
    frame, place = explanation.placement.frame, explanation.placement
    return {
        "image": {
            "name": explanation.photo.name,
            "sha256": explanation.photo.sha256,
            "format": explanation.photo.format,
            "width": frame.original[0],
            "height": frame.original[1],
        },
        "model": {
            "name": explanation.model.name,
            "weights_sha256": explanation.model.weights_sha256,
            "card": explanation.model.card.model_dump(mode="json", exclude={"known"}),
        },
        "method": explanation.method,
        "layer": explanation.layer,
        "head": explanation.head,
        "output_stride": explanation.output_stride,
        "sharp": {"scales": explanation.scales} if explanation.scales else None,
        "frame": {"box": frame.box, "input": frame.input},
        "placement": {"grid": place.grid, "stride": place.stride, "offset": place.offset, "rule": place.rule},
        "engine": explanation.engine,
        "precision": explanation.precision,
        "versions": versions(explanation.engine),
    }


def versions(engine: str = "torch") -> dict[str, str]:
    """Versions of everything that takes part in the numbers."""
    by_engine = {} if engine == "torch" else {engine: version(engine)}
    return by_engine | {
        "camserve": camserve.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
