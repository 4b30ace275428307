"""How does the cost grow with pixels, classes and models?

    python benchmarks/growth.py [--model efficientnet-lite0] [--engines torch]

One intra-op thread. Inputs: the forward pass by the side of a square input. Photographs: from decoded pixels to the
overlay's JPEG, with the same network input. Classes: ResNet-18 with random weights and different numbers of classes,
the map of one class and of all classes. Models: torchvision's with random weights, and the embedded model and its
siblings: the forward pass, and the forward pass with a map.
"""

import torch
from cost import ALL_CLASSES, EXPLAIN, FORWARD, ONE_CLASS, TO_JPEG, works_of
from measuring import Results, Row, Samples, Skipped, Table, interleaved, ratio, spread
from program import alone
from subjects import Plan, load, noise, photographs
from torchvision.models import resnet18

import camserve
from camserve.images.reading import encode

SIDES = (112, 224, 336, 448, 672, 896)
PHOTOGRAPHS = {0.05: (256, 192), 0.2: (512, 384), 1: (1154, 866), 4: (2308, 1732), 12: (4000, 3000), 50: (8164, 6123)}
CLASSES = (10, 100, 1000, 10_000, 21_000)
MODELS = (
    "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "torchvision:mobilenet_v2",
    "torchvision:resnet18", "torchvision:resnet50", "torchvision:densenet121", "torchvision:convnext_tiny",
    "torchvision:vit_b_16",
)  # fmt: skip


def measure(plan: Plan) -> Results:
    """Four tables an engine."""
    torch.set_num_threads(1)
    results = Results()
    for engine in plan.engines:
        model = load(plan.model, engine, workers=1)
        repeats = plan.choose(max(5, plan.repeats // 4), 2)
        results.tables += [
            Table(f"{engine}: {plan.model}, by the side of the input", by_side(model, plan, repeats)),
            Table(f"{engine}: {plan.model}, by the size of the photograph", by_photograph(model, plan, repeats)),
            Table(f"{engine}: ResNet-18, by the number of classes", by_classes(engine, plan, repeats)),
            Table(f"{engine}: by model", by_model(engine, plan, repeats, results)),
        ]
    return results


def by_side(model: camserve.Model, plan: Plan, repeats: int) -> list[Row]:
    """Measure milliseconds of the forward pass."""
    sides = SIDES[: plan.choose(len(SIDES), 2)]
    layer = model.layer()
    inputs = {side: noise(1, side) for side in sides}
    samples = interleaved({str(side): lambda side=side: layer.observe(inputs[side]) for side in sides}, repeats)
    return _rows("side", samples, {str(side): side * side / 1e6 for side in sides}, "ms a megapixel of input")


def by_photograph(model: camserve.Model, plan: Plan, repeats: int) -> list[Row]:
    """Measure milliseconds from decoded pixels to JPEG."""
    sizes = dict(list(PHOTOGRAPHS.items())[: plan.choose(len(PHOTOGRAPHS), 2)])
    photos = {f"{number:g}": photographs(1, size)[0] for number, size in sizes.items()}
    works = {name: lambda photo=photo: encode(model.explain(photo).overlay(), "jpeg") for name, photo in photos.items()}
    return _rows("megapixels", interleaved(works, repeats), {name: float(name) for name in photos}, "ms a megapixel")


def by_classes(engine: str, plan: Plan, repeats: int) -> list[Row]:
    """Measure the forward pass, the map of one class, and the maps of all classes."""
    found = []
    for classes in CLASSES[: plan.choose(len(CLASSES), 2)]:
        model = load(resnet18(num_classes=classes), engine, workers=1)
        found.append({"classes": classes, **_against_forward(model, repeats)})
    return found


def by_model(engine: str, plan: Plan, repeats: int, results: Results) -> list[Row]:
    """Measure the same for several models."""
    found = []
    for source in MODELS[: plan.choose(len(MODELS), 1)]:
        try:
            model = load(source, engine, workers=1)
        except (Skipped, camserve.CamserveError) as reason:
            results.notes.append(f"{source} on {engine}: {reason}")
            continue
        parameters = sum(values.numel() for values in model.module.parameters()) / 1e6
        row: Row = {"model": source, "million parameters": parameters, "input": model.card.input.size}
        found.append(row | _against_forward(model, repeats))
    return found


def _against_forward(model: camserve.Model, repeats: int) -> Row:
    works = works_of(model)
    samples = interleaved({name: works[name] for name in works if name not in (EXPLAIN, TO_JPEG)}, repeats)
    low, median, high = (1e3 * value for value in spread(samples[FORWARD]))
    row: Row = {"forward, ms": [median, low, high]}
    for name in (ONE_CLASS, ALL_CLASSES):
        if name in samples:
            row[f"{name}, x forward"] = ratio(samples[name], samples[FORWARD])
    return row


def _rows(key: str, samples: Samples, amounts: dict[str, float], each: str) -> list[Row]:
    found = []
    for name, seconds in samples.items():
        low, median, high = (1e3 * value for value in spread(seconds))
        found.append({key: name, "ms, median (quartiles)": [median, low, high], each: median / amounts[name]})
    return found


if __name__ == "__main__":
    alone(measure, __doc__)
