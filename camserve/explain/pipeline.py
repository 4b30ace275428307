"""START HERE: from an image to an Explanation.

    read_photo -> frame -> pixels -> observe (on a worker: network, method) -> Attribution -> Explanation -> render

One function orchestrates, `explain`; the Python API, the command line and the HTTP service all call it.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from camserve.catalogue.methods import QUANTITIES
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import TargetOption
from camserve.config import schema as config
from camserve.errors import CamserveError, OptionError, SizeError
from camserve.explain.attributing import Seen, attributions
from camserve.explain.observation import expected_index, observe
from camserve.explain.run import Run
from camserve.explain.sharp import sharpen
from camserve.explanation.attribution import Attribution
from camserve.explanation.expectation import missed
from camserve.explanation.explanation import Explanation
from camserve.geometry.frame import Frame, native
from camserve.images.bands import read_bands
from camserve.images.reading import Photo, Source, read_photo
from camserve.models.classifier import Classifier
from camserve.models.preprocessing import plain, to_input
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
    targets: int | Sequence[TargetOption],
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> list[Explanation]:
    """One explanation a target, all from one forward pass.

    targets: several, each as `target` of `explain`; or a number: so many of the best classes. Raises as `explain`.
    """
    _check_several(targets)
    options = _completed(options, model.settings.explain)
    if options.quantity != QUANTITIES[0] and model.card.scores != "softmax":
        what = "gives numbers, not scores" if model.card.scores == "none" else "scores each class alone"
        raise OptionError(
            f"quantity '{options.quantity}' is about classes that share one probability, and this model {what}: leave "
            "it out"
        )
    photo = image if isinstance(image, Photo) else open_photo(model, image)
    workers = run.workers or model.workers
    model = model.of_output(options.output, workers, run.deadline)
    expected = expected_index(options, model.labels)

    def seen_on(frame: Frame) -> Seen:
        """What a worker does."""
        pixels = to_input(photo, frame, model.card.input)
        own = None if _is_said(options.size, photo, frame) else _own_logits(model, photo, frame, run)
        by_layer = [observe(model, pixels, targets, layer, options, run, own) for layer in options.layers]
        by_target = [list(one) for one in zip(*by_layer, strict=True)]
        if not options.sharp:
            return Seen(by_target, own)
        at_size = partial(to_input, photo, spec=model.card.input)
        return Seen(by_target, own, sharpen(model, frame, at_size, by_target, options.output_stride, run.progress))

    frame, squeezed = model.frame(photo.size, options.size), tuple[str, ...]()
    try:
        seen = workers.run(lambda: seen_on(frame), run.deadline)
    except SizeError as error:
        own = model.own_frame(photo.size)
        if options.size != "fit" or frame.input == own.input:  # nobody asked for a size: the network's own may stand in
            raise
        shape = "a square" if own.input[0] == own.input[1] else "{} x {} pixels".format(*own.input)
        squeezed = (f"{error}: the whole image was squeezed to {shape} instead",)
        frame, seen = own, workers.run(lambda: seen_on(own), run.deadline)
    made, style = attributions(model, frame, seen, options.output_stride), model.settings.render
    found = [replace(one, expected=expected) for one in made]
    return [Explanation.of(replace(one, warnings=_all_words(one, squeezed, photo)), photo, style) for one in found]


def _all_words(found: Attribution, squeezed: tuple[str, ...], photo: Photo) -> tuple[str, ...]:
    """The warnings of one explanation, with what was expected and with how the photograph was seen and read."""
    wrong = missed(found)
    return (*squeezed, *found.warnings, *([wrong] if wrong else []), *photo.notes)


def _is_said(size: str | int | None, photo: Photo, frame: Frame) -> bool:
    """Whether the user says what the network's input is: the photograph's own pixels, or the crop."""
    return size in ("crop", "native") or (size != "fit" and frame == native(photo.size))


def _own_logits(model: Classifier, photo: Photo, frame: Frame, run: Run) -> Float32 | None:
    """The logits (C,) under the model's own evaluation crop; None where they are those of `frame`, or not asked for."""
    own = model.frame(photo.size, "crop")
    if frame == own or not model.settings.explain.own_answer:
        return None
    logits: Float32 = run.forward(model.layer(), to_input(photo, own, model.card.input))[2][0].cpu().numpy()
    return logits


def _completed(options: ExplainOptions, settings: config.Explain) -> ExplainOptions:
    """With the settings in place of what is None."""
    size = settings.size if options.size is None else options.size
    sharp = settings.sharp if options.sharp is None else options.sharp
    return replace(options, method=options.method or settings.method, size=size, sharp=sharp)


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
    if errors not in ("raise", "yield"):
        raise OptionError(f"errors={errors!r} is neither 'raise' nor 'yield'")
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
    model = model.of_output(options.output)
    chosen = model.layer()
    photo = image if isinstance(image, Photo) else open_photo(model, image)
    pixels = to_input(photo, model.frame(photo.size, options.size), model.card.input)

    def observed() -> Float32:
        maps: Float32 = chosen.class_maps(pixels)[0].contiguous().cpu().numpy()
        return maps

    return model.workers.run(observed)


def open_photo(model: Classifier, image: Source) -> Photo:
    """Read an image within the limits of what is no upload, with the bands that the model takes."""
    limits, bands = model.settings.limits, model.card.input.of_bands
    if bands is None:
        return open_picture(model, image)
    pixels, size = limits.max_local_pixels, limits.max_local_bytes
    return read_bands(image, bands, max_pixels=pixels, max_side=limits.side, max_bytes=size, local=True)


def plain_photo(model: Classifier, level: int) -> Photo:
    """A small photo of one value, 0..255, as the model takes them: for trying out options."""
    return plain(model.card.input, 64, level)


def open_picture(model: Classifier, image: Source) -> Photo:
    """Read an ordinary picture, whatever the model takes: a mask, say. Within the limits of what is no upload."""
    limits, icc = model.settings.limits, model.settings.images.to_srgb
    pixels, size = limits.max_local_pixels, limits.max_local_bytes
    return read_photo(image, max_pixels=pixels, max_side=limits.side, max_bytes=size, local=True, icc=icc)


def _with_targets(
    images: Iterable[Source], target: TargetOption | Sequence[TargetOption]
) -> Iterator[tuple[Source, TargetOption]]:
    if not isinstance(target, list | tuple):
        yield from ((image, target) for image in images)  # type: ignore[misc]
        return
    if isinstance(images, Sized) and len(images) != len(target):
        raise OptionError(f"{len(images)} images, but {len(target)} targets; give one for all, or one an image")
    left = iter(target)
    for image in images:
        try:
            its = next(left)
        except StopIteration:
            raise OptionError(f"fewer targets than images: there are {len(target)}") from None
        yield image, its


def _check_several(targets: int | Sequence[TargetOption]) -> None:
    if isinstance(targets, str) or callable(targets):
        raise OptionError(f"targets {targets!r} is one target; give a list of them, or use explain")
    if not isinstance(targets, int) and not targets:
        raise OptionError("the list of targets is empty; give at least one, or a number: so many of the best classes")
