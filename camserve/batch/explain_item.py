"""Explains one image of a batch, writes its files and returns its row. Threads and cluster actors use the same code."""

import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from camserve.batch.batch_options import BOXES, POLYGONS, Options
from camserve.batch.examine_item import Examined
from camserve.batch.open_item import open_item
from camserve.batch.outputs import Made, files_of, mistake_of
from camserve.catalogue.targets import EXPECTED, TargetOption, needs_expected
from camserve.datasets.ground_truth import Objects
from camserve.datasets.inputs import Item
from camserve.errors import CamserveError, OptionError, OutOfMemory, OutputError, Unavailable
from camserve.explain.drafting import drafting
from camserve.explain.pipeline import explain_classes
from camserve.explanation.expectation import missed
from camserve.explanation.explanation import Answer, Explanation
from camserve.explanation.overlay_size import overlay_facts
from camserve.findings.results import Row
from camserve.findings.sketch import shares, sketch_of, to_text
from camserve.findings.statistics import is_coarse
from camserve.images.reading import Photo
from camserve.model import Model
from camserve.render.regions import sample
from camserve.system.files import write_all
from camserve.system.json_values import finite
from camserve.system.shortage import one_shortage


class Work:
    """The work on each image; any number of threads may call it.

    labelled: whether the class of any image is known. targets: the most targets that a table names for one image.
    objects: where the objects are, if known. labelled and targets are the same for a whole run, because the names of
    its folders depend on them.
    """

    def __init__(
        self, model: Model, options: Options, out: Path, *, labelled: bool, targets: int, objects: Objects | None = None
    ) -> None:
        self.model, self.options, self.out, self.objects = model, options, out, objects
        self.variants = options.variants(labelled)
        self.several = len(options.methods) * max(len(self.variants), targets) > 1
        is_seen = "overlay" in options.outputs or options.metrics
        self._smaller = None if is_seen else drafting(model, options.how)
        self._examined = None if not options.metrics else Examined(model, options, objects, out)

    def __call__(self, item: Item) -> Row:
        """Explain one image, write all its files or none, and return its row. Raises only OutputError, Unavailable."""
        try:
            with one_shortage(repr(item.file)):
                photo = open_item(self.model, item, self._smaller)
                made = self._explain(photo, item)
                files = [files_of(one, item.name, self.options, folder=self.several) for one in made]
                rows = [self._row(item, one) for one in made]
                mistake = mistake_of(made, item.name, self.options)
                more = {} if self._examined is None else self._examined(item, photo, made, rows)
        except OutOfMemory as error:
            return failed(item, str(error), error.code)
        except (OutputError, Unavailable):
            raise
        except CamserveError as error:
            return failed(item, str(error), error.code)
        except Exception as error:  # from torch, a network or a decoder: one image never stops the others
            return failed(item, f"{item.file!r}: {type(error).__name__}: {error}", "internal")
        if mistake is not None:
            files[mistake.place]["against"] = mistake.path, mistake.content
            rows[mistake.place]["against"] = mistake.facts
        write_all(self.out, {path: content for one in files for path, content in one.values()})
        for row, one in zip(rows, files, strict=True):
            row["files"] = {kind: path for kind, (path, _) in one.items()}
        smaller = (
            overlay_facts(photo.size, made[0].explanation.style.max_side) if "overlay" in self.options.outputs else {}
        )
        return {**_about(item, photo, made[0].explanation), **smaller, "explanations": rows, **more}

    def _explain(self, photo: Photo, item: Item) -> list[Made]:
        """One explanation per method and target; the expected class only if it differs from the predicted class."""
        found = []
        variants, targets = self._asked(item)
        for method in self.options.methods:
            how, begun = replace(self.options.by(method), expected=_expected(item)), time.perf_counter()
            explanations = explain_classes(self.model, photo, targets, how)
            took = time.perf_counter() - begun
            several = [Made(method, *one, took) for one in zip(variants, explanations, strict=True)]
            found += [one for one in several if one.variant != EXPECTED or not _already(one, several)]
        return found

    def _asked(self, item: Item) -> tuple[list[str], int | list[TargetOption]]:
        """What to explain of an image: the names of the results, and their targets."""
        if item.targets:
            return [f"target-{place}" for place in range(1, len(item.targets) + 1)], list(item.targets)
        if isinstance(self.options.targets, int):
            return self.variants, self.options.targets
        names = self.options.targets or self.variants
        pairs = [pair for pair in zip(self.variants, names, strict=True) if item.expected or not self._needs(pair[1])]
        if not pairs:
            raise OptionError(f"{item.file!r}: its expected class is not known, and all targets need this class")
        expected = _expected(item)
        return [variant for variant, _ in pairs], [expected if name == EXPECTED else name for _, name in pairs]

    def _needs(self, target: str) -> bool:
        """Whether a target needs the expected class; "expected" always does, even if a class has that name."""
        return target == EXPECTED or needs_expected(target, self.model.labels)

    def _row(self, item: Item, made: Made) -> Row:
        """The part of a row about one explanation."""
        one = made.explanation
        of_the_image = missed(one)  # another part of the row says this
        sketch = sketch_of(one.map, one.placement)
        grid = {"grid": list(one.placement.grid)}
        border, corners = (None if is_coarse(grid) else shares(sketch)) or (None, None)
        return {
            "variant": made.variant,
            "method": one.method,
            "layer": one.layer,
            "target": one.target.name,
            **finite(vars(Answer(one.class_index, one.class_name, one.score, one.logit))),
            "value": finite(one.value),
            **grid,
            "sketch": to_text(sketch),
            "peak": finite(float(one.map.max())),
            "border": _rounded(border),
            "corners": _rounded(corners),
            "outside": _rounded(outside(self.objects, item, one) if self.objects else None),
            "warnings": [text for text in one.warnings if text != of_the_image],
            **({} if one.trust is None else {"trust": one.trust.to_dict()}),
            **self._regions(one),
        }

    def _regions(self, one: Explanation) -> Row:
        """Boxes, with or without their outlines, if the outputs contain them."""
        outputs, threshold = self.options.outputs, self.options.threshold
        if POLYGONS in outputs:
            return {"boxes": [{**asdict(each.box), "rings": each.rings} for each in one.polygons(threshold)]}
        return {"boxes": [asdict(box) for box in one.boxes(threshold)]} if BOXES in outputs else {}


def _about(item: Item, photo: Photo, one: Explanation) -> Row:
    """The part of a row about the image. one: any explanation of it."""
    return {
        "file": item.file,
        "name": item.name,
        "status": "ok",
        "sha256": photo.sha256,
        "width": photo.size[0],
        "height": photo.size[1],
        **({} if one.output is None else {"output": one.output}),
        "predicted": finite(vars(one.own_answer)),
        "unsure": one.unsure,
        "expected": None if one.expected is None else finite(vars(one.answer_of(one.expected))),
    }


def _expected(item: Item) -> int | None:
    """The index of the class that an image of the plan shows; None if unknown."""
    return None if item.expected is None else int(item.expected)


def outside(objects: Objects, item: Item, one: Explanation) -> float | None:
    """The share of the heat outside the objects, 0..1; None without objects or heat. Raises ImageError, OptionError."""
    heat, step = sample(one.heat_rows, one.size)
    heat = np.nan_to_num(heat)
    inside = objects.inside(item, one.size, heat.shape, step)
    total = float(heat.sum(dtype=np.float64))
    if inside is None or not total:
        return None
    return 1 - float((heat * inside).sum(dtype=np.float64)) / total


def failed(item: Item, error: str, code: str) -> Row:
    """The row of an image that could not be explained."""
    return {"file": item.file, "name": item.name, "status": "failed", "error": error, "code": code}


def _already(one: Made, several: list[Made]) -> bool:
    """Whether another of `several` explains the same class."""
    target = one.explanation.target
    others = (other.explanation.target for other in several if other is not one)
    return any(other.is_class and other.index == target.index for other in others)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
