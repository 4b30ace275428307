"""Measures where the cells of a trained network are in the input, because training moves them from where theory says.

It pastes objects that the model knows at known places, and looks for the heat of their class:

    pixel of the object's centre = J u + s0 ,   u: centroid of the positive heat, in cells; J: the layer's stride

Heat of the background, and heat that is cut off at the borders, pull every centroid towards the middle of the grid: u
moves less than the object, by the factor `slope`. So u is regressed on the object's place with a free slope, and s0 is
read where the line crosses the middle of the grid, because there the pull has no direction.

Limits. Turning an object in eight ways removes the asymmetry of the object, but not that of the network: a network that
knows cats by their ears looks at the ears in every turn. This error differs between photographs: on EfficientNet-Lite0
by 1 pixel across and 3.5 down. So the method needs a dozen photographs or more, and reports their spread as the error.
Drawn patterns cannot replace photographs: rings and noise, measured in the same way, are 1 to 3 pixels off across and 3
to 5 down. Zero padding moves heat near the borders, which no single offset can correct: see docs/geometry.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from camserve.catalogue.methods import AUTO
from camserve.catalogue.targets import class_target
from camserve.errors import ModelError, OptionError
from camserve.explain.observation import choose_method
from camserve.explain.pipeline import open_photo
from camserve.geometry.frame import Pair, crop, native
from camserve.images.reading import Photo, Source
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.model import Model
from camserve.models.card import Measured
from camserve.models.card_files import resolve_file
from camserve.models.inputs.preprocessing import to_input
from camserve.onboarding.stimuli import centres, pasted, places, soft_edged, turned

# A model recognises an object if its class is in the top 1 % of the classes (at least the first) in 75 % of the trials.
TOP_CLASSES, OF_THE_TRIALS = 0.01, 0.75
# The largest allowed standard error, in strides, and the least allowed slope.
ALLOWED_ERROR, LEAST_SLOPE = 1 / 16, 0.5
FEWEST = 3
_MORE = "Give more photographs of what it knows, a dozen or two, with one object in the middle of each (--images)"


@dataclass(frozen=True)
class Calibration:
    """The measured place of cell (0, 0) of `layer`. Every pair is (x, y), in input pixels unless stated otherwise.

    offset: s0. centred: the offset of the centred rule. spread: the standard deviation between photographs.
    slope: how many cells the heat moves when the object moves by one cell. photographs: the number of photographs that
    the model recognises. unseen: the number of others. trials: the number of forward passes used. stride: J.
    """

    layer: str
    offset: Pair
    centred: Pair
    spread: Pair
    slope: Pair
    photographs: int
    unseen: int
    trials: int
    stride: Pair

    @property
    def bias(self) -> Pair:
        """The error of the centred rule: it draws heat so many pixels too far right and down."""
        return self.centred[0] - self.offset[0], self.centred[1] - self.offset[1]

    @property
    def error(self) -> Pair:
        """The standard error of the offset: the spread divided by the square root of the number of photographs."""
        return self.spread[0] / self.photographs**0.5, self.spread[1] / self.photographs**0.5


def calibrate(
    model: Model, images: Iterable[Source] | None = None, *, size: tuple[int, int] | None = None
) -> Calibration:
    """Measure where the cells of the model's own layer are in the input.

    images: photographs of objects that the model knows, a dozen or more; default: the known answers of its card. Only
    the middle of each is used. size: (w, h) of the input, default: the training size. Raises OptionError if the result
    is not reliable: too few photographs are recognised, the error is too large, or heat does not follow the object.
    """
    workers = model.workers
    bench = workers.run(lambda: _Bench(model, size))
    found = []
    for image in known_images(model) if images is None else images:
        photo = open_photo(model, image)
        found.append(workers.run(lambda photo=photo: bench.centroids(photo)))  # type: ignore[misc]
    seen = [centroids for centroids in found if centroids is not None]
    if len(seen) < FEWEST:
        raise OptionError(
            f"'{model.name}' recognises {len(seen)} of {len(found)} photographs on a plain background; at least "
            f"{FEWEST} are needed. {_MORE}"
        )
    return _worth_its_name(bench.fitted(torch.stack(seen), len(found) - len(seen)))


def to_card(made: Calibration, day: date) -> Measured:
    """The part of a measurement that a card keeps: the offset to a tenth of a pixel, and its error."""
    spread, error = (f"{x:.1f} x {y:.1f}" for x, y in (made.spread, made.error))
    return Measured(
        layer=made.layer,
        offset=(round(made.offset[0], 1), round(made.offset[1], 1)),
        measured=f"camserve calibrate, {day}, {made.trials} trials with {made.photographs} photographs, "
        f"spread {spread} px, error {error} px",
    )


def known_images(model: Model) -> Iterator[Path]:
    """Yield the photographs of the card's known answers that exist."""
    for known in model.card.known if model.home else ():
        try:
            shared = model.settings.models.shared
            yield resolve_file(known.image, model.home, shared, key="known.image")  # type: ignore[arg-type]
        except ModelError:
            continue


class _Bench:
    """The parts of the measurement that are the same for every photograph."""

    def __init__(self, model: Model, size: tuple[int, int] | None) -> None:
        self.model, self.layer = model, model.layer()
        self.size = size or self.layer.trained
        self.side = max(1, min(self.layer.trained) // 2)  # large enough to be recognised, with room to move
        activations, _, self.plain = self.layer.observe(torch.zeros_like(model.network.given.image(self.size)))
        self.grid = activations.shape[-1], activations.shape[-2]
        self.centred = self.layer.placement(native(self.size), self.grid, centred=True)
        middle = self.centred.cell_centre((self.grid[0] - 1) / 2, (self.grid[1] - 1) / 2)
        self.where = places(middle, self.side, self.layer.stride)

    def centroids(self, photo: Photo) -> torch.Tensor | None:
        """The centroids of the heat of the object in `photo`, (turns, places, 2), in cells; None if not recognised."""
        frame = crop(photo.size, (self.side, self.side), share=1)
        patch = soft_edged(to_input(photo, frame, self.model.card.input)[0])
        seen = [self.layer.observe(pasted(turn, self.where, self.size)) for turn in turned(patch)]
        logits = torch.cat([answer for _, _, answer in seen])
        index = int((logits - self.plain).mean(0).argmax())
        if not _recognised(logits, index):
            return None
        how, head = choose_method(AUTO, self.layer), self.layer.head
        evidence = [Evidence(activations, head, class_target(index), carried) for activations, carried, _ in seen]
        maps = [apply(how, one) for one in evidence]
        found = centroid(torch.stack(maps).cpu())
        return found if bool(found.isfinite().all()) else None

    def fitted(self, centroids: torch.Tensor, unseen: int) -> Calibration:
        """Fit the offset and the slope. centroids: (photographs, turns, places, 2), in cells."""
        stride = torch.tensor(self.layer.stride, dtype=torch.float64)
        pixels = centres(self.where, self.side)
        moved = pixels - pixels.mean(0)
        slope = stride * (moved * centroids).mean((0, 1, 2)) / (moved**2).mean(0)
        middle = (torch.tensor(self.grid, dtype=torch.float64) - 1) / 2
        each = pixels.mean(0) + (middle - centroids.mean((1, 2))) * stride / slope - middle * stride
        return Calibration(
            layer=self.layer.name,
            offset=_pair(each.mean(0)),
            centred=self.centred.offset,
            spread=_pair(each.std(0)),
            slope=_pair(slope),
            photographs=len(centroids),
            unseen=unseen,
            trials=centroids[..., 0].numel(),
            stride=self.layer.stride,
        )


def _recognised(logits: torch.Tensor, index: int) -> bool:
    above = (logits > logits[:, index, None]).sum(1)
    return float((above < max(1, TOP_CLASSES * logits.shape[1])).double().mean()) >= OF_THE_TRIALS


def centroid(maps: torch.Tensor) -> torch.Tensor:
    """(..., h, w) -> (..., 2): the centroid (x, y) in cells of each map's positive part, NaN if it has no such part."""
    heat = maps.double().clamp(min=0)
    across, down = (heat.sum(axis) for axis in (-2, -1))
    u = (across * torch.arange(across.shape[-1])).sum(-1) / across.sum(-1)
    v = (down * torch.arange(down.shape[-1])).sum(-1) / down.sum(-1)
    return torch.stack([u, v], -1)


def _pair(values: torch.Tensor) -> Pair:
    x, y = values.tolist()
    return x, y


def _worth_its_name(made: Calibration) -> Calibration:
    """Return `made`. Raises OptionError if it is not reliable."""
    if not min(made.slope) >= LEAST_SLOPE:
        raise OptionError(
            f"the heat does not follow the object: when the object moves by one cell, the heat moves by "
            f"{made.slope[0]:.2f} across and {made.slope[1]:.2f} down; at least {LEAST_SLOPE:g} is needed. {_MORE}"
        )
    allowed = tuple(step * ALLOWED_ERROR for step in made.stride)
    if any(error > most for error, most in zip(made.error, allowed, strict=True)):
        raise OptionError(
            f"{made.photographs} photographs differ too much: the offset's error is {made.error[0]:.1f} pixels across "
            f"and {made.error[1]:.1f} down; allowed is {allowed[0]:g}, a sixteenth of the stride. {_MORE}"
        )
    return made
