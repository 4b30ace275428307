"""Compares methods over a list of images in memory: `Model.compare_methods`. For folders: `camserve evaluate`."""

import time
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from camserve.catalogue.class_names import resolve_class
from camserve.catalogue.metric import Asks
from camserve.catalogue.metrics import METRICS, parse_metrics
from camserve.catalogue.options import ExplainOptions
from camserve.datasets.inputs import Item
from camserve.errors import OptionError
from camserve.evaluation.examining import Examiner, check_metrics
from camserve.evaluation.mosaics import Mosaics, pool_of
from camserve.evaluation.standings import Evaluation, Row
from camserve.explain.pipeline import explain, open_photo, plain_photo
from camserve.explanation.explanation import Explanation
from camserve.images.reading import Photo, Source
from camserve.models.classifier import Classifier
from camserve.render.regions import sample

# The default methods: the exact maps, the usual ones with one backward pass, one without gradients, and a random map
# as a baseline.
METHODS = ("cam", "affinitycam", "gradcam", "gradcam++", "layercam", "reciprocam", "random")
# The default metrics; those of objects are used only if the places of the objects are known.
FAITHFUL, OF_MOSAICS, OF_OBJECTS = ("insertion", "deletion"), ("grid_pg", "grid_auroc"), ("pointing", "pixel_ap")


def usual_metrics(*, with_objects: bool) -> tuple[str, ...]:
    """The default metrics."""
    return (*FAITHFUL, *OF_MOSAICS, *(OF_OBJECTS if with_objects else ()))


def usual_methods(model: Classifier) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the default methods that work with the model; and for each other one why it does not, by name."""
    going, left_out = [], {}
    for name in METHODS:
        try:
            explain(model, plain_photo(model, 128), options=ExplainOptions(method=name, sharp=False))
        except OptionError as error:
            left_out[name] = str(error)
        else:
            going.append(name)
    return tuple(going), left_out


def evaluate(
    model: Classifier,
    explanation: Explanation,
    metrics: Sequence[str] | None = None,
    inside: npt.NDArray[np.bool_] | None = None,
) -> dict[str, float | None]:
    """Measure the metrics of one explanation; None for a metric without a value. See `camserve.model.Model.evaluate`.

    Metrics of mosaics need several images, see `compare_methods`. Raises OptionError, UnknownName.
    """
    asked = (*FAITHFUL, *(OF_OBJECTS if inside is not None else ())) if metrics is None else parse_metrics(metrics)
    check_metrics(asked, of_one=True)
    mask = None if inside is None else _sampled(inside, explanation.photo)
    return Examiner(model, asked).one(explanation, mask)


def compare_methods(
    model: Classifier,
    images: Source | Photo | Iterable[Source | Photo],
    methods: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    classes: Sequence[int | str] | None = None,
    objects: Sequence[npt.NDArray[np.bool_] | None] | None = None,
) -> Evaluation:
    """Measure methods x metrics over images; the best method comes first. See `camserve.evaluation.standings`.

    images: one, or several. methods, metrics: names; None for the defaults. classes: the class that each image shows,
    an index or a name; without it the predicted class is explained, and there are no mosaics (grid_pg). objects: for
    each image a mask of its object, bool (H, W), or None. Raises OptionError, UnknownName, ImageError.
    """
    chosen = usual_methods(model)[0] if methods is None else tuple(methods)
    asked = usual_metrics(with_objects=objects is not None) if metrics is None else parse_metrics(metrics)
    check_metrics(asked)
    several = _listed(images)
    count = _as_many(several, classes=classes, objects=objects)
    shown = [None] * count if classes is None else [str(resolve_class(one, model.labels)) for one in classes]
    items = [Item(str(place), "", expected=index) for place, index in enumerate(shown)]
    opened = partial(_opened, model, several)
    pool = pool_of(items) if any(METRICS[name].asks is Asks.IMAGES for name in asked) else []
    examiner = Examiner(model, asked, Mosaics(model, pool, opened) if pool else None)
    masks = [None] * len(items) if objects is None else objects
    hows = [ExplainOptions(method=name) for name in chosen]
    return Evaluation(asked, (_row(model, examiner, item, opened(item), hows, mask)
                              for item, mask in zip(items, masks, strict=True)))  # fmt: skip


def _row(
    model: Classifier,
    examiner: Examiner,
    item: Item,
    photo: Photo,
    hows: Sequence[ExplainOptions],
    mask: npt.NDArray[np.bool_] | None,
) -> Row:
    """A row in the form of `camserve batch`, with the measured fields only."""
    target, made, took = None if item.expected is None else int(item.expected), [], []
    for how in hows:
        begun = time.perf_counter()
        made.append((how, explain(model, photo, target, how)))
        took.append(time.perf_counter() - begun)
    inside = None if mask is None else _sampled(mask, photo)
    found, baselines = examiner.image(item, photo, made, inside)
    rows = [
        {"method": one.method, "metrics": measured, "seconds": seconds}
        for (_, one), measured, seconds in zip(made, found, took, strict=True)
    ]
    return {"status": "ok", "explanations": rows, "baselines": baselines}


def _sampled(mask: npt.NDArray[np.bool_], photo: Photo) -> npt.NDArray[np.bool_]:
    """The mask, sampled like the heat. Raises OptionError if its size differs from the photograph's."""
    mask = np.asarray(mask, bool)
    if mask.shape != photo.size[::-1]:
        raise OptionError(
            f"objects: the mask of '{photo.name}' has the shape {mask.shape}, but its photograph {photo.size[::-1]}; "
            "both must be the same (height, width)"
        )
    heat, _ = sample(lambda first, last: mask[first:last].astype(np.float32), photo.size)
    return heat > 0


def _listed(images: Source | Photo | Iterable[Source | Photo]) -> list[Source | Photo]:
    """The images as a list; one image becomes a list of one. Raises OptionError if there are none."""
    is_list = isinstance(images, list | tuple) or (hasattr(images, "__next__"))
    several: list[Source | Photo] = list(images) if is_list else [images]  # type: ignore[arg-type, list-item]
    if not several:
        raise OptionError("images: the list is empty; give at least one")
    return several


def _as_many(images: Sequence[object], **given: Sequence[object] | None) -> int:
    """The number of images. Raises OptionError if a list in `given` has another length."""
    for name, values in given.items():
        if values is not None and len(values) != len(images):
            raise OptionError(f"{name}: {len(values)} for {len(images)} images; give one for each")
    return len(images)


def _opened(model: Classifier, images: Sequence[Source | Photo], item: Item) -> Photo:
    image = images[int(item.name)]
    return image if isinstance(image, Photo) else open_photo(model, image)
