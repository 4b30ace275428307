"""START HERE: from an image to an Explanation.

    read_photo -> frame -> pixels -> observe (on a worker: network, method) -> Explanation -> place -> render

One function orchestrates, `explain`; the Python API, the command line and the HTTP service all call it.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve import workers as pool
from camserve.diagnosis import compare, diagnose, doubt
from camserve.errors import CamserveError, OptionError, SizeError
from camserve.explanation import Explanation
from camserve.frame import Frame, Placement
from camserve.images import Photo, Source, read_photo
from camserve.methods import AUTO, find_method
from camserve.models import Model
from camserve.observation import Observation, fuse, observe
from camserve.options import ExplainOptions
from camserve.pipeline import in_order
from camserve.resampling import to_input
from camserve.run import Run
from camserve.sharp import Sharp, sharpen
from camserve.targets import TargetOption

Float32 = npt.NDArray[np.float32]


def explain(
    model: Model,
    image: Source | Photo,
    target: TargetOption = None,
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
    run: Run = Run(),  # noqa: B008 - frozen
) -> Explanation:
    """Why `model` says what it says about one image. Raises OptionError, ImageError and DeadlinePassed."""
    return explain_classes(model, image, [target], options, run)[0]


def explain_classes(
    model: Model,
    image: Source | Photo,
    targets: int | Sequence[TargetOption],
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
    run: Run = Run(),  # noqa: B008 - frozen
) -> list[Explanation]:
    """One explanation a target, all from one forward pass. Raises as `explain`."""
    _check_several(targets)
    name = options.method or model.settings.explain.method
    if name != AUTO:
        find_method(name)  # before the image is read, not after
    photo = image if isinstance(image, Photo) else open_photo(model, image)
    size, output_stride, progress = options.size, options.output_stride, run.progress
    how: dict[str, Any] = {"method": name, "output_stride": output_stride, "quantity": options.quantity}
    how |= {"progress": progress, "forward": run.forward}
    sharper = model.settings.explain.sharp if options.sharp is None else options.sharp

    def look(frame: Frame) -> tuple[list[list[Observation]], list[Sharp]]:
        pixels = to_input(photo, frame, model)
        by_layer = [observe(model, pixels, targets, layer=one, **how) for one in options.layers]
        by_target = [list(one) for one in zip(*by_layer, strict=True)]
        at_size = partial(to_input, photo, model=model)
        return by_target, sharpen(model, frame, at_size, by_target, output_stride, progress) if sharper else []

    def at(frame: Frame) -> tuple[list[list[Observation]], list[Sharp]]:
        return (run.workers or pool.shared(model.settings.compute)).run(lambda: look(frame), run.deadline)

    frame, squeezed = model.frame(photo.size, size), ""
    try:
        seen, sharpened = at(frame)
    except SizeError as error:
        own, asked = model.own_frame(photo.size), model.settings.explain.size if size is None else size
        if asked != "fit" or frame.input == own.input:  # nobody asked for a size: the network's own may stand in for it
            raise
        frame, squeezed = own, f"{error}: the whole image was squeezed to a square instead"
        seen, sharpened = at(frame)
    explanations = [
        replace(one, warnings=(squeezed, *one.warnings)) if squeezed else one
        for one in _explanations(model, photo, frame, seen, output_stride)
    ]
    combined = [replace(one, **vars(more)) for one, more in zip(explanations, sharpened, strict=sharper)]
    return combined or explanations


def _explanations(
    model: Model, photo: Photo, frame: Frame, seen: list[list[Observation]], output_stride: int | None
) -> list[Explanation]:
    """seen: for each target what the layers asked for showed."""
    placed = [fuse(one, frame) for one in seen]
    targets = [one[0].target for one in seen]
    alike = compare(seen[0][0].method, targets, [grid_map for grid_map, _ in placed], model.labels)
    several = zip(seen, placed, alike, strict=True)
    return [_explanation(model, photo, one, *place, others, output_stride) for one, place, others in several]


def _explanation(
    model: Model,
    photo: Photo,
    seen: list[Observation],
    grid_map: Float32,
    placement: Placement,
    others: list[str],
    output_stride: int | None,
) -> Explanation:
    """One target's. others: what comparing it with the other targets has found."""
    first, layers = seen[0], [one.layer.name for one in seen]
    about_method = [first.method.check] if first.method.check else []
    warnings = diagnose(model, seen, grid_map, placement, others)
    about_model = *doubt(model.card), *model.notes(placement.frame.input, layers)
    return Explanation(
        photo=photo,
        map=grid_map,
        placement=placement,
        logits=first.logits,
        target=first.target,
        method=first.method.name,
        layer=",".join(layers),
        head=first.layer.head.kind,
        completeness=first.completeness,
        warnings=(*about_model, *about_method, *warnings, *photo.notes),
        model=model,
        output_stride=output_stride,
        account=next((one.account.within(placement.frame) for one in seen if one.account), None),
        engine=first.layer.engine.name,
    )


def explain_many(
    model: Model,
    images: Iterable[Source],
    *,
    target: "TargetOption | Sequence[TargetOption]" = None,
    errors: str = "raise",
    **options: Any,
) -> Iterator[Explanation | CamserveError]:
    """Explanations in the order of `images`, while the next ones are being read: bounded memory, any number.

    errors: "raise" ends the iteration at the first image that fails; "yield" gives its CamserveError in its
    place and goes on. target: one for all, or a list with one an image. options: as for `explain`.
    """
    if errors not in ("raise", "yield"):
        raise OptionError(f"errors={errors!r} is neither 'raise' nor 'yield'")
    threads = pool.shared(model.settings.compute).count + 1

    def one(pair: tuple[Source, TargetOption]) -> Explanation:
        return explain(model, pair[0], pair[1], ExplainOptions(**options))

    for future in in_order(one, _with_targets(images, target), threads):
        try:
            yield future.result()
        except CamserveError as error:
            if errors == "raise":
                raise
            yield error


def class_maps(model: Model, image: Source | Photo, *, size: str | int | None = None) -> Float32:
    """The CAM of every class from one forward pass, float32 (C, h, w), in logits.

    mean(map_c) + bias_c = logit_c. Raises OptionError where the head is not GAP + linear.
    """
    chosen = model.layer()
    photo = image if isinstance(image, Photo) else open_photo(model, image)
    pixels = to_input(photo, model.frame(photo.size, size), model)

    def observe() -> Float32:
        maps: Float32 = chosen.class_maps(pixels)[0].contiguous().cpu().numpy()
        return maps

    return pool.shared(model.settings.compute).run(observe)


def open_photo(model: Model, image: Source) -> Photo:
    """Read an image within the model's limits."""
    limits = model.settings.limits
    return read_photo(image, max_pixels=limits.max_pixels, max_side=limits.side, max_bytes=limits.max_bytes)


def _with_targets(
    images: Iterable[Source], target: "TargetOption | Sequence[TargetOption]"
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
