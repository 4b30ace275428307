"""How much does an explanation cost in addition to the forward pass of the prediction?

    python benchmarks/cost.py [--model efficientnet-lite0] [--engines torch] [--repeats 60]

In one process, interleaved, at the model's training size: the forward pass alone (body, head, logits) on a tensor; the
forward pass with the map of the predicted class; the body and the maps of all classes, whose means are the logits. From
a decoded photograph of twice that size (448 x 448, 0.2 megapixels): `model.explain` as users call it, with its overlay
as JPEG or PNG, and the PNG alone, written by camserve and by Pillow. On OpenVINO also the forward pass in bfloat16.
Ratios are to the forward pass of the same engine.
"""

import io
from collections.abc import Mapping

import torch
from measuring import Aim, Results, Table, Work, interleaved, rows
from program import alone
from subjects import Plan, load, noise, photographs

import camserve
from camserve.catalogue.targets import class_target
from camserve.explain.observation import choose_method
from camserve.images.reading import encode
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence

FORWARD, ONE_CLASS, ALL_CLASSES = "forward alone", "forward and map of one class", "maps of all classes"
EXPLAIN, TO_JPEG = "model.explain, from pixels", "explain and overlay as JPEG"
TO_PNG, PNG, PILLOW_PNG = "explain and overlay as PNG", "PNG of the overlay", "PNG by Pillow, its quickest"
ROUNDED = "forward alone, bfloat16"
# Limits by engine. The engine's own graph contains the 1x1 convolution, a share of its arithmetic.
ALL_CLASSES_LIMIT = {"torch": 1.10, "openvino": 1.15}


def measure(plan: Plan) -> Results:
    """A table for each engine and number of threads."""
    results = Results()
    for engine in plan.engines:
        for threads in plan.thread_counts:
            torch.set_num_threads(threads)
            works = works_of(load(plan.model, engine, threads, workers=1))
            if engine == "openvino":
                works[ROUNDED] = rounded(plan.model, engine, threads)
            found = rows(interleaved(works, plan.repeats), FORWARD)
            results.tables.append(Table(f"{plan.model}, {engine}, {threads} intra-op thread(s)", found))
            if threads == 1:
                results.aims += aims({row["what"]: row["x forward"] for row in found}, engine)
    return results


def rounded(model: str, engine: str, threads: int) -> Work:
    """Return the forward pass in bfloat16."""
    short = load(model, engine, threads, workers=1, precision="bfloat16")
    layer, images = short.layer(), noise(1, short.card.input.size)
    return lambda: layer.observe(images)


def works_of(model: camserve.Model) -> dict[str, Work]:
    """Return the compared works by name."""
    side = model.card.input.size
    layer, images, (photo,) = model.layer(), noise(1, side), photographs(1, (2 * side, 2 * side))
    method, overlay = choose_method("auto", layer), model.explain(photo, size=side).overlay()

    def forward() -> Evidence:
        activations, carried, logits = layer.observe(images)
        return Evidence(activations, layer.head, class_target(int(logits.argmax())), carried, answered=logits)

    works: dict[str, Work] = {
        FORWARD: forward,
        ONE_CLASS: lambda: apply(method, forward()),
        ALL_CLASSES: lambda: layer.class_maps(images),
        EXPLAIN: lambda: model.explain(photo, size=side),
        TO_JPEG: lambda: encode(model.explain(photo, size=side).overlay(), "jpeg"),
        TO_PNG: lambda: encode(model.explain(photo, size=side).overlay(), "png"),
        PNG: lambda: encode(overlay, "png"),
        PILLOW_PNG: lambda: overlay.save(io.BytesIO(), "PNG", compress_level=1),
    }
    if method.name != "cam":
        del works[ALL_CLASSES]
    return works


def aims(ratios: Mapping[str, float], engine: str) -> list[Aim]:
    """Return the target ratios as aims."""
    limits = {ONE_CLASS: 1.05, ALL_CLASSES: ALL_CLASSES_LIMIT[engine], TO_JPEG: 1.35}
    return [
        Aim(f"{engine}, one thread: {name}, times the forward pass", ratios[name], limit)
        for name, limit in limits.items()
        if name in ratios
    ]


if __name__ == "__main__":
    alone(measure, __doc__)
