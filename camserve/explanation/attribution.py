"""What an explanation found, as numbers: no pixels of the photograph, no network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.catalogue.class_names import resolve_class
from camserve.catalogue.methods import find_method
from camserve.catalogue.numbers import whole_within
from camserve.catalogue.targets import Target
from camserve.explanation.class_scores import Answer, number_in_short, ranked
from camserve.explanation.contributions import Account, ClassMaps, Region, Vote, account_at, summed
from camserve.explanation.receptive_box import receptive_box
from camserve.geometry.frame import Placement
from camserve.geometry.receptive_field import Field
from camserve.metrics.trust import Trust
from camserve.render.painting import Rows
from camserve.render.polygons import Polygon, find_polygons
from camserve.render.regions import Box, find_boxes
from camserve.render.scale import LOGITS, OUTPUT, OWN, RELATIVE, Scale, shown_part

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Origin:
    """What it was computed by, as plain values: model (its name, the hash of its weights, its card), and versions.

    engine: what ran the network. precision: of its numbers.
    """

    model: Mapping[str, Any]
    engine: str
    precision: str
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """What speaks for a class, and where. It can be pickled and copied, and keeps no network alive.

    map: float32 (h, w), raw and signed, one value per cell of the layer; for cam in logits. placement: where those
    cells lie in the image. logits: float32 (C,), of the input that the map is of. scores: float32 (C,), 0..1, what the
    model says; see own_logits; None where the logits are numbers of no class, as of regression. labels: the classes'
    names. output: which of the network's outputs they are, None where it has but one. target: what is explained; value:
    what it comes to in `logits`: a class's logit, the difference of two; None for a function of the caller's.
    method, layers, head: how. completeness: |mean(CAM) + bias - logit|, None where the head has no such identity.
    warnings: in words, most serious first. output_stride: as it was asked for. origin: what computed it.
    scales: the sizes that `sharp` combined, () for one pass. Such a map is 0..1, no logits; all else is of scale 1.
    account: what each cell adds to the logits, None where the head does not add up over places. receptive_fields: the
    layer's for the input's width and its height, None where they are not known or several layers were fused.
    own_logits: float32 (C,), what the model says under its own evaluation preprocessing, the crop of its card. It is
    what the class and the scores come from; None where they come from the input that the map is of. expected: the class
    that the image shows, None where nobody said. unsure: whether the best score is low, see `explain.unsure_below`.
    trust: how far the map can be trusted; None where nobody asked.
    """

    map: Float32
    placement: Placement
    logits: Float32
    scores: Float32 | None
    labels: tuple[str, ...] = field(repr=False)
    target: Target
    value: float | None
    method: str
    layers: tuple[str, ...]
    head: str
    completeness: float | None
    warnings: tuple[str, ...]
    origin: Origin = field(repr=False)
    output: str | None = None
    output_stride: int | None = None
    scales: tuple[float, ...] = ()
    account: Account | None = field(default=None, repr=False)
    receptive_fields: tuple[Field, Field] | None = field(default=None, repr=False)
    own_logits: Float32 | None = field(default=None, repr=False)
    expected: int | None = None
    unsure: bool = False
    trust: Trust | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Of the photograph, (W, H) in pixels."""
        return self.placement.frame.original

    @property
    def nbytes(self) -> int:
        """Of its arrays, but for what it shares with others."""
        account = 0 if self.account is None else self.account.activations.nbytes
        scores = 0 if self.scores is None else self.scores.nbytes
        return self.map.nbytes + self.logits.nbytes + scores + account

    @property
    def layer(self) -> str:
        """The layer's name; of several, all, separated by commas."""
        return ",".join(self.layers)

    @property
    def engine(self) -> str:
        """What ran the network."""
        return self.origin.engine

    @property
    def model_name(self) -> str:
        """The name of the model that was asked."""
        return str(self.origin.model["name"])

    @property
    def class_index(self) -> int:
        """The explained class; of a difference the first, of a function of the caller's the predicted one."""
        return self.target.index

    @property
    def class_name(self) -> str:
        """The explained class's name."""
        return self.labels[self.class_index]

    @property
    def logit(self) -> float:
        """The explained class's logit for the input that the map is of: what the map adds up to."""
        return float(self.logits[self.class_index])

    @property
    def score(self) -> float | None:
        """The explained class's score, 0..1: what the model says, see `own_logits`.

        None where the target is about more than a class, see `value`, and where the model gives numbers, not scores.
        """
        return self._answer(self.class_index).score if self.target.has_score else None

    @property
    def title(self) -> str:
        """The target's name, after that of the output, where somebody chose one of several."""
        chosen = self.output is not None and self.origin.model["card"].get("output") is not None
        return f"{self.output}: {self.target.name}" if chosen else self.target.name

    @property
    def in_short(self) -> str:
        """The target with the class's score, or, where it is about more than a class, with its value.

        Before it the output, where somebody chose one of several.
        """
        name, value = self.title, self.value
        if self.target.has_score:
            return f"{name} {self._answer(self.class_index).in_short}"
        if value is None or self.scores is None:
            return name if value is None else f"{name}: {number_in_short(value)}"
        return f"{name}: {value:.2f}" + (" logits" if self.target.is_linear else "")

    def top(self, count: int = 5) -> list[Answer]:
        """The `count` classes with the highest scores, best first."""
        return [self._answer(index) for index in ranked(self._answers)[: whole_within("count", count, 0)]]

    @property
    def own_answer(self) -> Answer:
        """What the model itself says: its best class under its own evaluation preprocessing."""
        return self.top(1)[0]

    def answer_of(self, index: int) -> Answer:
        """What the model says of the class with that index. Raises OptionError for an index out of range."""
        return self._answer(resolve_class(index, self.labels, "index"))

    def _answer(self, index: int) -> Answer:
        score = None if self.scores is None else float(self.scores[index])
        return Answer(index, self.labels[index], score, float(self._answers[index]))

    @property
    def _answers(self) -> Float32:
        return self.logits if self.own_logits is None else self.own_logits

    @property
    def unit(self) -> str:
        """Of the map: "logits", "own" where a method has a unit of its own, "relative" where several were combined.

        In place of logits "output" where the model gives numbers, not scores.
        """
        if self.scales or len(self.layers) > 1:
            return RELATIVE
        if find_method(self.method).unit != "logits" or not self.target.is_linear:
            return OWN
        return OUTPUT if self.scores is None else LOGITS

    def receptive_box(self, x: float, y: float) -> tuple[float, float, float, float]:
        """The pixels that the cell at original pixel (x, y) can have seen: (left, top, right, bottom), clipped.

        right and bottom are exclusive. Everything the model saw where something upstream looks at all of it, such as
        attention. Raises OptionError where the layer's receptive field is not known.
        """
        return receptive_box(self.placement, self.receptive_fields, self.layers, self.scales, x, y)

    def heat_rows(self, first: int, last: int) -> Float32:
        """Rows first..last-1 of the heatmap: float32 (last - first, W), 0..1, NaN where the model saw nothing.

        The map's positive part over its maximum, laid over the original between cell centres.
        """
        return self.placement.rows(self._relative_map, first, last)

    def enlarged_rows(self, factor: int) -> Rows:
        """As `heat_rows`, of a copy of the photograph that is `factor` times as wide and as high."""
        return partial(self.placement.enlarged(factor).rows, self._relative_map)

    @cached_property
    def _relative_map(self) -> Float32:
        positive = shown_part(self.map, signed=False)
        return Scale(float(positive.max()), signed=False).share_of(positive)

    def boxes_at(self, threshold: float) -> list[Box]:
        """Boxes around connected heat of at least `threshold` of the maximum, original pixels, hottest first."""
        return find_boxes(self.heat_rows, self.size, threshold=threshold)

    def polygons_at(self, threshold: float) -> list[Polygon]:
        """The outlines of what `boxes_at` boxes: the same regions in the same order, with their holes."""
        return find_polygons(self.heat_rows, self.size, threshold=threshold)

    def share(self, region: Region) -> float:
        """How much of the target's logit comes from a region of the original, in logits; exact, whatever the method.

        region: (left, top, right, bottom) in pixels, right and bottom exclusive; a Box; or a mask, bool (H, W). The
        shares of regions that make up the photograph, plus `bias`, are the logit; what was not seen has none. A cell
        is spread over pixels by its weight in the heat there, see `camserve.explanation.contributions`. Raises
        OptionError where the head does not add up over places, and where the target is not a logit or a difference of
        two.
        """
        return self._account.share(summed(self.target), region)

    def class_maps(self, most: int) -> ClassMaps:
        """The exact map of each class, whatever the method: the explained ones first, then the best.

        most: numbers that all maps may have together; classes that do not fit are left out. Raises OptionError as `at`.
        """
        asked = [index for index in (self.target.index, self.target.against) if index is not None]
        return self._account.class_maps(list(dict.fromkeys((*asked, *ranked(self._answers)))), most)

    @property
    def bias(self) -> float:
        """What of the target's logit comes from no place. Raises OptionError as `share`."""
        return self._account.bias_of(summed(self.target))

    def at(self, x: float, y: float, count: int = 5) -> list[Vote]:
        """The classes that the place (x, y) of the original, in pixels, speaks most for, best first.

        By the exact class maps, whatever the method and the target: logits that the class would have, less its bias,
        if all places were like this one. Raises OptionError where the head has none, or the model did not see (x, y).
        """
        return self._account.votes(x, y, self.labels, count)

    @property
    def _account(self) -> Account:
        return account_at(self.account, self.layer, self.head)


def rank_of(found: Attribution, index: int) -> int:
    """The place of a class among the model's answers, from 1, as `top` orders them."""
    return 1 + ranked(found._answers).index(index)
