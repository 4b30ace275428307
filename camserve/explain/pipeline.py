"""START HERE: from an image to an Explanation.

    read_photo -> frame -> pixels -> observe (on a worker: network, method) -> Attribution -> Explanation -> render

One function orchestrates, `explain`; the Python API, the command line and the HTTP service all call it.
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
    """Why `model` says what it says about one image.

    image: path, bytes, binary file, PIL image, uint8 array (H, W, 3) or a Photo already read. target: class index or
    name, "a-b" for a difference, "-a" for what speaks against a, or a function of the logits; default the predicted
    class. Options left out come from the model's settings. Raises OptionError, ImageError and, with a deadline,
    DeadlinePassed.
    """
    return explain_classes(model, image, [target], options, run)[0]


def explain_classes(
    model: Classifier,
    image: Source | Photo,
    targets: int | str | Above | Sequence[TargetOption],
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> list[Explanation]:
    """One explanation a target, all from one forward pass.

    targets: several, each as `target` of `explain`; or a number: so many of the best classes; or "above 0.5": every
    class with a score of at least that, which must be one. Raises as `explain`.
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
            "it out"
        )
    expected = expected_index(options, model.labels)

    closed = is_closed(model, targets, options)
    if not closed:
        _ = model.network  # met before a worker waits for it

    def seen_on(frame: Frame) -> Seen:
        """What a worker does."""
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
    """One class, or, where the target is another photograph, why the two look alike."""
    from camserve.explain.likeness import explain_likeness, is_likeness

    if not is_likeness(model, target):
        return explain(model, photo, target, options, run)
    other = _opened(model, cast(Source | Photo, target)) if is_photograph(target) else None
    return explain_likeness(explain, model, photo, other, options, run)


def _all_words(found: Attribution, squeezed: tuple[str, ...], photo: Photo) -> tuple[str, ...]:
    """The warnings of one explanation, with what was expected and with how the photograph was seen and read."""
    wrong = missed(found)
    return (*squeezed, *found.warnings, *([wrong] if wrong else []), *photo.notes)


def _own_frame(model: Classifier, photo: Photo, frame: Frame, size: str | int | None) -> Frame | None:
    """The model's own evaluation crop, whose logits say which class is predicted.

    None where the user says with `size` what the network's input is, the photograph's own pixels or the crop; where
    it is `frame`; and where it is not asked for.
    """
    own = model.frame(photo.size, "crop")
    is_said = size in ("crop", "native") or (size != "fit" and frame == native(photo.size))
    return None if is_said or frame == own or not model.settings.explain.own_answer else own


def _completed(options: ExplainOptions, model: Classifier) -> ExplainOptions:
    """With the model's settings, and what suits it, in place of what is None."""
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
    """Explanations in the order of `images`, while the next ones are being read: bounded memory, any number.

    errors: "raise" ends the iteration at the first image that fails; "yield" gives its CamserveError in its
    place and goes on. target: one for all, or a list with one an image.
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
    """The CAM of every class from one forward pass, float32 (C, h, w), in logits. Of the options size and output count.

    mean(map_c) + bias_c = logit_c. Raises OptionError where the head is not GAP + linear.
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
    """Read an image within the limits of what is no upload, with the bands that the model takes.

    smaller: see `camserve.explain.drafting`.
    """
    return read_local(image, model.settings, model.card.input.of_bands, smaller)


def plain_photo(model: Classifier, level: int) -> Photo:
    """A small photo of one value, 0..255, as the model takes them: for trying out options."""
    return plain(model.card.input, 64, level)


def open_picture(model: Classifier, image: Source, smaller: Smaller | None = None) -> Photo:
    """Read an ordinary picture, whatever the model takes: a mask, say. Within the limits of what is no upload."""
    return read_local(image, model.settings, smaller=smaller)


def _with_targets(
    images: Iterable[Source], target: TargetOption | Sequence[TargetOption]
) -> Iterator[tuple[Source, TargetOption]]:
    each = _each(images)
    if not isinstance(target, list | tuple):
        yield from ((image, target) for image in each)
        return
    if isinstance(images, Sized) and len(images) != len(target):
        raise OptionError(f"{len(images)} images, but {len(target)} targets; give one for all, or one an image")
    left = iter(target)
    for image in each:
        try:
            its = next(left)
        except StopIteration:
            raise OptionError(f"fewer targets than images: there are {len(target)}") from None
        yield image, its


def _each(images: Iterable[Source]) -> Iterator[Source]:
    """One image after another. Raises OptionError for a single one, and for what holds none."""
    with suppress(TypeError):
        if not isinstance(images, str | bytes | bytearray):
            return iter(images)
    raise OptionError(f"images {shown(images)} is no list of images; of a single one try explain")


def _checked_several(targets: object, labels: Sequence[str]) -> int | Above | list[TargetOption]:
    """Several targets as a list, or which classes by their scores. Raises OptionError."""
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
        raise OptionError("the list of targets is empty; give at least one, or a number: so many of the best classes")
    return [checked(Targeted, "target", target) for target in several]
