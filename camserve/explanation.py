"""What an explanation is: the raw map and everything that can be made of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from camserve import render
from camserve.facts import facts_of, provenance_of
from camserve.files import write_all
from camserve.frame import Placement
from camserve.images import Photo, encode
from camserve.legend import Legend
from camserve.methods import find_method
from camserve.npy import npy_bytes, npy_in_pieces
from camserve.options import OverlayOptions, takes
from camserve.polygons import Polygon, find_polygons
from camserve.questions import Questions
from camserve.regions import Box, find_boxes
from camserve.scales import LOGITS, OWN, RELATIVE, Scale, scale_of, shown_part
from camserve.seen import receptive_box
from camserve.shares import Account, Region, Vote, account_for, summed_target
from camserve.targets import Target

if TYPE_CHECKING:
    from camserve.models import Model

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """One class's part of what the model said. score: 0..1. logit: before softmax."""

    class_index: int
    class_name: str
    score: float
    logit: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model said what it said about one image.

    photo: the image, upright. map: float32 (h, w), raw and signed, one value per cell of the layer; for cam in
    logits. placement: where those cells lie in the image. logits: float32 (C,). target: what is explained.
    method, layer, head: how. completeness: |mean(CAM) + bias - logit|, None where the head has no such identity.
    warnings: in words, most serious first. model: what was asked. output_stride: as it was asked for.
    engine: what ran the network.
    scales: the sizes that `sharp` combined, () for one pass. Such a map is 0..1, no logits; all else is of scale 1.
    account: what each cell adds to the logits, None where the head does not add up over places.
    """

    photo: Photo
    map: Float32
    placement: Placement
    logits: Float32
    target: Target
    method: str
    layer: str
    head: str
    completeness: float | None
    warnings: tuple[str, ...]
    model: "Model"
    output_stride: int | None = None
    scales: tuple[float, ...] = ()
    account: Account | None = field(default=None, repr=False)
    engine: str = "torch"

    @property
    def class_index(self) -> int:
        """The explained class; of a difference the first, of a function of the caller's the predicted one."""
        return self.target.index

    @property
    def class_name(self) -> str:
        """The explained class's name."""
        return self.model.labels[self.class_index]

    @property
    def logit(self) -> float:
        """The explained class's logit."""
        return float(self.logits[self.class_index])

    @property
    def score(self) -> float:
        """The explained class's score, 0..1."""
        return float(self.scores[self.class_index])

    @property
    def value(self) -> float | None:
        """What the target comes to: a class's logit, the difference of two; None for a function of the caller's."""
        if self.target.function is not None:  # it may cost anything, and count on the device of the network
            return None
        return float(self.target(torch.tensor(self.logits)[None])[0])

    @property
    def in_short(self) -> str:
        """The target with the class's score, or, where it is about more than a class, with its value."""
        name, value = self.target.name, self.value
        if self.target.has_score:
            return f"{name} {self.score:.2f}"
        return name if value is None else f"{name} {value:.2f}" + (" logits" if self.target.is_linear else "")

    @cached_property
    def scores(self) -> Float32:
        """Softmax (or sigmoid, as the card says, and where there is but one logit) of the logits, float32 (C,)."""
        logits = self.logits.astype(np.float64)
        if self.model.card.scores == "sigmoid" or len(logits) == 1:
            return (1 / (1 + np.exp(-logits))).astype(np.float32)
        powers = np.exp(logits - logits.max())
        scores: Float32 = (powers / powers.sum()).astype(np.float32)
        return scores

    def top(self, count: int = 5) -> list[Answer]:
        """The `count` classes with the highest scores, best first."""
        best = np.argsort(-self.logits, kind="stable")[:count]
        return [Answer(int(i), self.model.labels[i], float(self.scores[i]), float(self.logits[i])) for i in best]

    def receptive_box(self, x: float, y: float) -> tuple[float, float, float, float]:
        """The pixels that the cell at original pixel (x, y) can have seen: (left, top, right, bottom), clipped.

        right and bottom are exclusive. Everything the model saw where something upstream looks at all of it, such as
        attention. Raises OptionError where the layer's receptive field is not known.
        """
        return receptive_box(self, x, y)

    def heat_rows(self, first: int, last: int) -> Float32:
        """Rows first..last-1 of the heatmap: float32 (last - first, W), 0..1, NaN where the model saw nothing.

        The map's positive part over its maximum, laid over the original between cell centres.
        """
        return self.placement.rows(self._relative_map, first, last)

    @cached_property
    def _relative_map(self) -> Float32:
        positive = shown_part(self.map, signed=False)
        return Scale(float(positive.max()), signed=False).share_of(positive)

    @property
    def heatmap(self) -> Float32:
        """float32 (H, W) in the original's pixels, 0..1; NaN where the model saw nothing (outside a crop).

        Made anew at each access, 4 bytes a pixel.
        """
        return self.heat_rows(0, self.photo.size[1])

    @property
    def unit(self) -> str:
        """Of the map: "logits", "own" where a method has a unit of its own, "relative" where several were combined."""
        if self.scales or "," in self.layer:
            return RELATIVE
        return LOGITS if find_method(self.method).unit == "logits" and self.target.is_linear else OWN

    @takes(OverlayOptions)
    def overlay(self, look: OverlayOptions) -> Image.Image:
        """`drawn`, with the options as keywords."""
        return self.drawn(look)

    def drawn(self, look: OverlayOptions) -> Image.Image:
        """The heatmap over the photograph, RGB at the original size. Raises UnknownName, OptionError."""
        defaults = self.model.settings.render
        chosen = scale_of(self, signed=look.signed, end=look.scale)
        shown = chosen.share_of(self.map)
        return render.overlay(
            self.photo.image,
            self.heat_rows,
            painted=partial(self.placement.rows, shown),
            signed=look.signed,
            colormap=look.colormap or (defaults.signed_colormap if look.signed else defaults.colormap),
            alpha=defaults.alpha if look.alpha is None else look.alpha,
            contour=look.contour,
            boxes=self.boxes(look.boxes) if look.boxes is not None else (),
            legend=self._legend(chosen) if look.legend else None,
        )

    def boxes(self, threshold: float | None = None) -> list[Box]:
        """Boxes around connected heat of at least `threshold` of the maximum, original pixels, hottest first."""
        share = self.model.settings.render.threshold if threshold is None else threshold
        return find_boxes(self.heat_rows, self.photo.size, threshold=share)

    def polygons(self, threshold: float | None = None) -> list[Polygon]:
        """The outlines of what `boxes` boxes: the same regions in the same order, with their holes."""
        share = self.model.settings.render.threshold if threshold is None else threshold
        return find_polygons(self.heat_rows, self.photo.size, threshold=share)

    def share(self, region: Region) -> float:
        """How much of the target's logit comes from a region of the original, in logits; exact, whatever the method.

        region: (left, top, right, bottom) in pixels, right and bottom exclusive; a Box; or a mask, bool (H, W). The
        shares of regions that make up the photograph, plus `bias`, are the logit; what was not seen has none. A cell
        is spread over pixels by its weight in the heat there, see `camserve.shares`. Raises OptionError where the
        head does not add up over places, and where the target is not a logit or a difference of two.
        """
        return account_for(self).share(summed_target(self), region)

    @property
    def bias(self) -> float:
        """What of the target's logit comes from no place. Raises OptionError as `share`."""
        return account_for(self).bias_of(summed_target(self))

    def at(self, x: float, y: float, count: int = 5) -> list[Vote]:
        """The classes that the place (x, y) of the original, in pixels, speaks most for, best first.

        By the exact class maps, whatever the method and the target: logits that the class would have, less its bias,
        if all places were like this one. Raises OptionError where the head has none, or the model did not see (x, y).
        """
        return account_for(self).votes(x, y, self.model.labels, count)

    def _legend(self, scale: Scale) -> Legend:
        of_class = self.target.name == self.class_name
        caption = f"{self.class_name} {self.score:.2f}" if of_class else self.target.name
        return Legend(caption, *scale.words(self.map, self.unit))

    def heatmap_image(self) -> Image.Image:
        """The heatmap in 8 bits: L, or LA with alpha 0 where the model saw nothing."""
        return render.heat_image(self.heat_rows, self.photo.size)

    def heatmap_npy(self) -> Iterator[bytes]:
        """The heatmap as a .npy file, float32 (H, W), in pieces: as a whole it takes 200 MB for 50 megapixels."""
        return npy_in_pieces(self.heat_rows, self.photo.size)

    def mask_image(self, threshold: float | None = None) -> Image.Image:
        """White where the heat reaches `threshold` of the maximum, black elsewhere: L, of the original's size."""
        share = self.model.settings.render.threshold if threshold is None else threshold
        return render.mask_image(self.heat_rows, self.photo.size, threshold=share)

    def to_dict(
        self, *, top: int = 5, threshold: float | None = None, questions: Questions | None = None
    ) -> dict[str, Any]:
        """Everything but pixels, ready for JSON; `map` as nested lists, numbers in full.

        top: how many classes. threshold: of the boxes and polygons. questions: places and regions to answer for,
        and whether to give polygons. A number that is not finite becomes None: JSON has no other word for it.
        Raises OptionError for a question that has no answer here.
        """
        share = self.model.settings.render.threshold if threshold is None else threshold
        return facts_of(self, top, share, questions or Questions())

    def provenance(self) -> dict[str, Any]:
        """What it takes to make this explanation again, bit for bit."""
        return provenance_of(self)

    def save(
        self,
        folder: str | Path,
        *,
        facts: dict[str, Any] | None = None,
        look: OverlayOptions = OverlayOptions(),  # noqa: B008
    ) -> Path:
        """Write overlay.png, heatmap.png, heatmap.npy, map.npy and, last, manifest.json into `folder`.

        facts: what `to_dict` gave, for the manifest. look: how overlay.png is drawn. All or nothing. Gives the folder.
        Raises OutputError.
        """
        contents: dict[str, bytes | Iterator[bytes]] = {
            "overlay.png": encode(self.drawn(look), "png"),
            "heatmap.png": encode(self.heatmap_image(), "png"),
            "heatmap.npy": self.heatmap_npy(),
            "map.npy": npy_bytes(self.map),
            "manifest.json": json.dumps(facts or self.to_dict(), indent=1).encode(),
        }
        write_all(Path(folder), contents)
        return Path(folder)

    def _repr_png_(self) -> bytes:
        """Notebooks show the overlay with its legend."""
        return encode(self.overlay(legend=True), "png")

    def __repr__(self) -> str:
        return (
            f"<camserve.Explanation {self.class_name} {self.score:.3f} of {self.photo.name} "
            f"{frame_size(self.placement)} by {self.method} at {self.layer}>"
        )


def frame_size(placement: Placement) -> str:
    """The original's size as text, "640 x 480"."""
    return "{} x {}".format(*placement.frame.original)
