"""An explanation as JSON: its numbers, and what is needed to repeat it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from camserve.catalogue.questions import Questions
from camserve.errors import OptionError
from camserve.explanation.attribution import Attribution
from camserve.explanation.expectation import expected_facts
from camserve.geometry.frame import Placement
from camserve.images.reading import Photo
from camserve.render.npy import npy_bytes
from camserve.system.json_values import finite


def facts_of(found: Attribution, photo: Photo, top: int, threshold: float, questions: Questions) -> dict[str, Any]:
    """Return the result of `Explanation.to_dict`. threshold: a share of the maximum, 0..1."""
    facts = {
        "class_index": found.class_index,
        "class_name": found.class_name,
        "score": found.score,
        "logit": found.logit,
        "input_score": found.input_score,
        "output": found.output,
        "target": {"name": found.target.name, "quantity": found.target.quantity, "value": found.value},
        "own_answer": finite(vars(found.own_answer)),
        "top": [vars(answer) for answer in found.top(top)],
        "expected": expected_facts(found),
        "map": found.map.tolist(),
        "unit": found.unit,
        "receptive_field": _field(found),
        "boxes": [vars(box) for box in found.boxes_at(threshold)],
        "threshold": threshold,
        **answers(questions, found, top, threshold),
        "completeness": found.completeness,
        "trust": None if found.trust is None else found.trust.to_dict(),
        "warnings": list(found.warnings),
        "provenance": provenance_of(found, photo),
    }
    return {key: finite(value) for key, value in facts.items()}


def provenance_of(found: Attribution, photo: Photo) -> dict[str, Any]:
    """Return the result of `Explanation.provenance`."""
    frame, place, origin = found.placement.frame, found.placement, found.origin
    return {
        "image": {
            "name": photo.name,
            "sha256": photo.sha256,
            "format": photo.format,
            "width": frame.original[0],
            "height": frame.original[1],
        },
        "model": dict(origin.model),
        "method": found.method,
        "layer": found.layer,
        "head": found.head,
        "output_stride": found.output_stride,
        "sharp": {"scales": found.scales} if found.scales else None,
        "frame": {"box": frame.box, "input": frame.input},
        "placement": placed(place),
        "engine": origin.engine,
        "precision": origin.precision,
        "versions": dict(origin.versions),
    }


def placed(place: Placement) -> dict[str, Any]:
    """Return for JSON where the cells of a map lie: cell u is at pixel stride u + offset of the network's input."""
    return {"grid": place.grid, "stride": place.stride, "offset": place.offset, "rule": place.rule}


def class_maps_of(found: Attribution, most: int) -> tuple[dict[str, Any], bytes]:
    """The exact maps of as many classes as have no more numbers than `most`: what they are, for JSON, and a .npy file.

    Where the head has none: the `reason`, and no bytes.
    """
    try:
        made = found.class_maps(most)
    except OptionError as error:
        return {"reason": str(error)}, b""
    about = {
        "shape": list(made.maps.shape),
        "datatype": "FP32",
        "encoding": "npy",
        "classes": list(made.classes),
        "bias": finite(made.bias.tolist()),
        "placement": placed(made.placement),
    }
    return about, npy_bytes(made.maps)


def _field(found: Attribution) -> dict[str, Any] | None:
    """Return for JSON which pixels of the network's input a cell can see; None if unknown.

    Cell u sees pixels stride u + first to stride u + last, inclusive, (x, y). everywhere: every cell sees all pixels.
    """
    if found.receptive_fields is None or found.scales:
        return None
    across, down = found.receptive_fields
    axes = across.x, down.y
    return {
        **{name: [getattr(axis, name) for axis in axes] for name in ("stride", "first", "last")},
        "everywhere": across.global_context,
    }


def answers(questions: Questions, found: Attribution, top: int, threshold: float) -> dict[str, Any]:
    """Return for JSON `places`, `regions` with `bias`, and `polygons`, each if requested. Raises OptionError.

    top: how many classes for each place. threshold: the heat at which polygons are drawn.
    """
    given: dict[str, Any] = {}
    if questions.at:
        given["places"] = [
            {"x": x, "y": y, "votes": [asdict(vote) for vote in found.at(x, y, top)]} for x, y in questions.at
        ]
    if questions.region:
        whole = found.share((0, 0, *found.size))
        given["regions"] = [{"box": list(box), "logits": found.share(box), "of": whole} for box in questions.region]
        given["bias"] = found.bias
    if questions.polygons:
        given["polygons"] = [asdict(polygon) for polygon in found.polygons_at(threshold)]
    return given


def in_words(facts: dict[str, Any]) -> Iterator[str]:
    """Yield the answers in the result of `Explanation.to_dict`, one line each."""
    if facts.get("trust"):
        yield f"trust: {facts['trust']['sentence']}"
    are_numbers = facts["provenance"]["model"]["card"]["scores"] in ("none", "embedding")
    unit, of = ("", "") if are_numbers else (" logits", " (logits)")
    if overlay := facts.get("overlay"):
        yield f"overlay: {overlay['width']} x {overlay['height']}, {overlay['scale']:.3g} of the photograph's side"
    for place in facts.get("places", ()):
        votes = ", ".join(f"{vote['class_name']} {vote['logits']:.2f}" for vote in place["votes"])
        yield f"at {place['x']:g},{place['y']:g}: {votes}{of}"
    for region in facts.get("regions", ()):
        box = ",".join(f"{edge:g}" for edge in region["box"])
        yield f"region {box}: {region['logits']:.2f}{unit}; all places together {region['of']:.2f}"
    for polygon in facts.get("polygons", ()):
        corners, box = len(polygon["rings"][0]) - 1, polygon["box"]
        yield f"polygon of {corners} corners with {box['share']:.0%} of the heat"
