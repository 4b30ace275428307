"""START HERE: from an image to an Explanation.

    read_photo -> frame -> pixels -> observe (on a worker: network, method) -> Attribution -> Explanation -> render

The function `explain` runs all steps; the Python API, the command line and the HTTP service call it.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from camserve.catalogue.numbers import as_whole
from camserve.catalogue.option_metadata import checked
from camserve.catalogue.options import ExplainOptions, Targeted
from camserve.catalogue.targets import Above, TargetOption, above, is_photograph
from camserve.config import schema as config
from camserve.errors import CamserveError, OptionError, shown
from camserve.explain.at_size import at_size
from camserve.explain.attributing import Seen, attributions
from camserve.explain.closed_form import class_maps_closed, is_closed, seen_closed
from camserve.explain.looking import expected_index
from camserve.explain.run import Run
from camserve.explain.trusting import with_trust
from camserve.explanation.attribution import Attribution
from camserve.explanation.expectation import missed
from camserve.explanation.explanation import Explanation
from camserve.geometry.frame import Frame, native
from camserve.images.arrays.drafts import Smaller
from camserve.images.reading import Photo, Source
from camserve.models.classifier import Classifier
from camserve.models.inputs.local_photos import read_local
from camserve.models.inputs.preprocessing import plain, to_input
from camserve.system.ordered import in_order

Float32 = npt.NDArray[np.float32]

DEFAULTS, RUN = ExplainOptions(), Run()


def explain(
    model: Classifier,
    image: Source | Photo,
    target: TargetOption = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> Explanation:
    """Explain the answer of `model` for one image.

    image: path, bytes, binary file, PIL image, uint8 array (H, W, 3) or a Photo. target: class index or name, "a-b" for
    a difference, "-a" for what speaks against a, or a function of the logits; default the predicted class. An option
    that is None comes from the model's settings. Raises OptionError, ImageError and, with a deadline, DeadlinePassed.
    """
    return explain_classes(model, image, [target], options, run)[0]


def explain_classes(
    model: Classifier,
    image: Source | Photo,
    targets: int | str | Above | Sequence[TargetOption],
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> list[Explanation]:
    """Explain several targets of one image with one forward pass.

    targets: a list of targets as `explain` takes them; or a number n, for the n best classes; or "above 0.5", for every
    class with a score of 0.5 or more, at least one. Raises the errors of `explain`.
    """
    targets = _checked_several(targets, options.labels or model.labels)
    options = _completed(options, model)
    photo, workers = _opened(model, image), run.workers or model.workers
    model = model.of_output(options.output, workers, run.deadline).of_labels(options.labels, workers, run.deadline)
    if isinstance(targets, list) and (model.card.scores == "embedding" or any(map(is_photograph, targets))):
        from camserve.explain.likeness import is_likeness  # torch

        if any(is_likeness(model, target) for target in targets):
            return [_explain_one(model, photo, target, options, run) for target in targets]
    if options.quantity == "log-softmax" and model.card.scores != "softmax":
        what = "scores each class alone" if model.card.has_scores else "gives numbers, not scores"
        raise OptionError(
            f"quantity '{options.quantity}' is about classes that share one probability, and this model {what}: leave "
            "the option out"
        )
    expected = expected_index(options, model.labels)

    closed = is_closed(model, targets, options)
    if not closed:
        _ = model.network  # make the network here, so that no worker waits for it

    def seen_on(frame: Frame) -> Seen:
        """Run on a worker."""
        own = _own_frame(model, photo, frame, options.size)
        if closed:
            return seen_closed(model, photo, frame, own, targets, expected, run)
        from camserve.explain.seeing import seen_by_network  # torch

        return seen_by_network(model, photo, frame, own, targets, options, run, expected)

    frame, squeezed, seen = at_size(model, photo, options.size, seen_on, run)
    made, style = attributions(model, frame, seen, options.output_stride), model.settings.render
    found = [replace(one, expected=expected) for one in made]
    if options.trust:
        found = with_trust(model, found, photo, run)
    return [Explanation.of(replace(one, warnings=_all_words(one, squeezed, photo)), photo, style) for one in found]


def _explain_one(
    model: Classifier, photo: Photo, target: TargetOption, options: ExplainOptions, run: Run
) -> Explanation:
    """Explain one class, or, if the target is another photograph, why the two look alike."""
    from camserve.explain.likeness import explain_likeness, is_likeness

    if not is_likeness(model, target):
        return explain(model, photo, target, options, run)
    other = _opened(model, cast(Source | Photo, target)) if is_photograph(target) else None
    return explain_likeness(explain, model, photo, other, options, run)


def _all_words(found: Attribution, squeezed: tuple[str, ...], photo: Photo) -> tuple[str, ...]:
    """Return all warnings of one explanation: squeezing, the map, a missed expected class, reading the photograph."""
    wrong = missed(found)
    return (*squeezed, *found.warnings, *([wrong] if wrong else []), *photo.notes)


def _own_frame(model: Classifier, photo: Photo, frame: Frame, size: str | int | None) -> Frame | None:
    """Return the model's own evaluation crop, whose logits decide which class is predicted.

    None if `size` sets the network's input (the photograph's own pixels, or the crop), if the crop equals `frame`, and
    if the setting explain.own_answer is off.
    """
    own = model.frame(photo.size, "crop")
    is_said = size in ("crop", "native") or (size != "fit" and frame == native(photo.size))
    return None if is_said or frame == own or not model.settings.explain.own_answer else own


def _completed(options: ExplainOptions, model: Classifier) -> ExplainOptions:
    """Return the options with the model's settings and its own quantity in place of None."""
    settings: config.Explain = model.settings.explain
    size = settings.size if options.size is None else options.size
    sharp = settings.sharp if options.sharp is None else options.sharp
    quantity = options.quantity or model.quantity
    return replace(options, method=options.method or settings.method, size=size, sharp=sharp, quantity=quantity)


def explain_many(
    model: Classifier,
    images: Iterable[Source],
    target: TargetOption | Sequence[TargetOption] = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
    *,
    errors: str = "raise",
) -> Iterator[Explanation | CamserveError]:
    """Explain any number of images, in their order. The next images are read meanwhile; memory is bounded.

    errors: "raise" ends the iteration at the first image that fails; "yield" gives the CamserveError in place of the
    explanation and continues. target: one target for all images, or a list with one target for each image.
    """
    if not isinstance(errors, str) or errors not in ("raise", "yield"):
        raise OptionError(f"errors={shown(errors)} is neither 'raise' nor 'yield'")
    threads = model.workers.count + 1

    def one(pair: tuple[Source, TargetOption]) -> Explanation:
        return explain(model, *pair, options, run)

    for future in in_order(one, _with_targets(images, target), threads):
        try:
            yield future.result()
        except CamserveError as error:
            if errors == "raise":
                raise
            yield error


def class_maps(model: Classifier, image: Source | Photo, options: ExplainOptions = DEFAULTS) -> Float32:
    """Return the CAM of every class from one forward pass, float32 (C, h, w), in logits.

    mean(map_c) + bias_c = logit_c. options: size, output and labels are used. Raises OptionError if the head is not
    GAP + linear.
    """
    model = model.of_output(options.output).of_labels(options.labels)
    photo = _opened(model, image)
    if model.closed is not None:
        frame = model.frame(photo.size, options.size)
        return model.workers.run(lambda: class_maps_closed(model, photo, frame, RUN))
    chosen = model.layer()
    pixels = to_input(photo, model.frame(photo.size, options.size), model.card.input)

    def observed() -> Float32:
        maps: Float32 = chosen.class_maps(pixels)[0].contiguous().cpu().numpy()
        return maps

    return model.workers.run(observed)


def _opened(model: Classifier, image: Source | Photo) -> Photo:
    return image if isinstance(image, Photo) else open_photo(model, image)


def open_photo(model: Classifier, image: Source, smaller: Smaller | None = None) -> Photo:
    """Read an image with the bands that the model takes, within the limits for local images (not for uploads).

    smaller: see `camserve.explain.drafting`.
    """
    return read_local(image, model.settings, model.card.input.of_bands, smaller)


def plain_photo(model: Classifier, level: int) -> Photo:
    """Return a small photo of one value, 0..255, with the model's bands: to try out options."""
    return plain(model.card.input, 64, level)


def open_picture(model: Classifier, image: Source, smaller: Smaller | None = None) -> Photo:
    """Read an RGB picture such as a mask, whatever bands the model takes, within the limits for local images."""
    return read_local(image, model.settings, smaller=smaller)


def _with_targets(
    images: Iterable[Source], target: TargetOption | Sequence[TargetOption]
) -> Iterator[tuple[Source, TargetOption]]:
    each = _each(images)
    if not isinstance(target, list | tuple):
        yield from ((image, target) for image in each)
        return
    if isinstance(images, Sized) and len(images) != len(target):
        raise OptionError(
            f"{len(images)} images, but {len(target)} targets; give one target for all images, or one for each image"
        )
    left = iter(target)
    for image in each:
        try:
            its = next(left)
        except StopIteration:
            raise OptionError(f"there are only {len(target)} targets, and more images; give one for each") from None
        yield image, its


def _each(images: Iterable[Source]) -> Iterator[Source]:
    """Return an iterator over the images. Raises OptionError for a single image, and for a value without images."""
    with suppress(TypeError):
        if not isinstance(images, str | bytes | bytearray):
            return iter(images)
    raise OptionError(f"images {shown(images)} is not a list of images; for a single image use explain")


def _checked_several(targets: object, labels: Sequence[str]) -> int | Above | list[TargetOption]:
    """Return the targets as a list, a number of best classes, or a score. Raises OptionError."""
    scoring = above(targets) if isinstance(targets, str) else targets
    if isinstance(scoring, Above):
        targets = scoring.among(labels)
        if isinstance(targets, Above):
            return targets
    if (count := as_whole(targets)) is not None:
        return count
    is_one = isinstance(targets, str) or callable(targets) or is_photograph(targets) or getattr(targets, "ndim", 1) == 0
    if is_one or not isinstance(targets, Iterable):
        raise OptionError(f"targets {shown(targets)} is one target; give a list of them, or use explain")
    several = list(targets)
    if not several:
        raise OptionError("the list of targets is empty; give at least one target, or how many of the best classes")
    return [checked(Targeted, "target", target) for target in several]
