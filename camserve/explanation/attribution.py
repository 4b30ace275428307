"""The numbers of an explanation: no pixels of the photograph, no network."""

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
from camserve.explanation.class_scores import Answer, number_in_short, ranked, scores_of
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
    """What computed an explanation, as plain values: model (its name, the hash of its weights, its card), versions.

    engine: the engine that ran the network. precision: of the engine's numbers.
    """

    model: Mapping[str, Any]
    engine: str
    precision: str
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """What speaks for a class, and where. It can be pickled and copied, and holds no network.

    map: float32 (h, w), raw and signed, one value per cell of the layer; for cam in logits. placement: where the cells
    lie in the image. logits: float32 (C,), for the map's input. scores: float32 (C,), 0..1, the model's answer, from
    own_logits if there are any; None if the logits are numbers without classes, as of regression. labels: the names of
    the classes. output: the network's output that was explained; None if the network has only one. target: what is
    explained. value: the target's value at `logits`: a class's logit, or the difference of two; None for the caller's
    own function. method, layers, head: how the map was made. completeness: |mean(CAM) + bias - logit|, None if the head
    has no such identity. warnings: texts, the most serious first. output_stride: as in the options. origin: what
    computed it. scales: the sizes that `sharp` combined; () for one pass. A sharp map is 0..1, not logits; all other
    numbers are of scale 1. account: what each cell adds to the logits; None if the logits are not sums over places.
    receptive_fields: the layer's, for the input's width and for its height; None if unknown or if several layers were
    fused. own_logits: float32 (C,), the logits for the model's own evaluation preprocessing, the crop of its card. The
    class and the scores come from them; None if class and scores come from the map's input. expected: the class that
    the image shows; None if the caller did not say. unsure: whether the best score is low, see `explain.unsure_below`.
    trust: how far the map can be trusted; None without the option trust.
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
        """Size of the photograph, (W, H) in pixels."""
        return self.placement.frame.original

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays, without arrays that it shares with other objects."""
        account = 0 if self.account is None else self.account.activations.nbytes
        scores = 0 if self.scores is None else self.scores.nbytes
        return self.map.nbytes + self.logits.nbytes + scores + account

    @property
    def layer(self) -> str:
        """The layer's name; several names are separated by commas."""
        return ",".join(self.layers)

    @property
    def engine(self) -> str:
        """The engine that ran the network."""
        return self.origin.engine

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return str(self.origin.model["name"])

    @property
    def class_index(self) -> int:
        """The explained class; for a difference its first class, for the caller's own function the predicted class."""
        return self.target.index

    @property
    def class_name(self) -> str:
        """The name of the explained class."""
        return self.labels[self.class_index]

    @property
    def logit(self) -> float:
        """The explained class's logit for the map's input. A map in logits adds up to it."""
        return float(self.logits[self.class_index])

    @property
    def score(self) -> float | None:
        """The explained class's score, 0..1, in the model's answer; see `own_logits`.

        None if the target is more than one class (then see `value`), and if the model gives numbers, not scores.
        """
        return self._answer(self.class_index).score if self.target.has_score else None

    @property
    def input_score(self) -> float | None:
        """The explained class's score, 0..1, for the map's input, of which `logit` is, too. None as for `score`."""
        if self.own_logits is None or self.score is None or self.scores is None:
            return self.score
        each_alone = self.origin.model["card"]["scores"] == "sigmoid"
        return float(scores_of(self.logits, each_alone=each_alone)[self.class_index])

    @property
    def title(self) -> str:
        """The target's name; if an output of several was chosen, its name stands before it."""
        chosen = self.output is not None and self.origin.model["card"].get("output") is not None
        return f"{self.output}: {self.target.name}" if chosen else self.target.name

    @property
    def in_short(self) -> str:
        """The target with the class's score, or with its value if it is more than one class.

        If an output of several was chosen, its name stands before the target.
        """
        name, value = self.title, self.value
        if self.target.has_score:
            return f"{name} {self._answer(self.class_index).in_short}"
        if value is None or self.scores is None:
            return name if value is None else f"{name}: {number_in_short(value)}"
        return f"{name}: {value:.2f}" + (" logits" if self.target.is_linear else "")

    def top(self, count: int = 5) -> list[Answer]:
        """Return the `count` classes with the highest scores, best first."""
        return [self._answer(index) for index in ranked(self._answers)[: whole_within("count", count, 0)]]

    @property
    def own_answer(self) -> Answer:
        """The model's own answer: its best class for its own evaluation preprocessing."""
        return self.top(1)[0]

    def answer_of(self, index: int) -> Answer:
        """Return the model's answer for the class with that index. Raises OptionError for an index out of range."""
        return self._answer(resolve_class(index, self.labels, "index"))

    def _answer(self, index: int) -> Answer:
        score = None if self.scores is None else float(self.scores[index])
        return Answer(index, self.labels[index], score, float(self._answers[index]))

    @property
    def _answers(self) -> Float32:
        return self.logits if self.own_logits is None else self.own_logits

    @property
    def unit(self) -> str:
        """The map's unit: "logits", "own" if the method has its own unit, "relative" if several maps were combined.

        If the model gives numbers, not scores, it is "output" instead of "logits".
        """
        if self.scales or len(self.layers) > 1:
            return RELATIVE
        if find_method(self.method).unit != "logits" or not self.target.is_linear:
            return OWN
        return OUTPUT if self.scores is None else LOGITS

    def receptive_box(self, x: float, y: float) -> tuple[float, float, float, float]:
        """Return the pixels that the cell at original pixel (x, y) can see: (left, top, right, bottom), clipped.

        right and bottom are exclusive. The box is everything that the model saw if an earlier layer, such as attention,
        sees the whole input. Raises OptionError if the layer's receptive field is unknown.
        """
        return receptive_box(self.placement, self.receptive_fields, self.layers, self.scales, x, y)

    def heat_rows(self, first: int, last: int) -> Float32:
        """Return rows first..last-1 of the heatmap: float32 (last - first, W), 0..1, NaN where the model saw nothing.

        The heatmap is the map's positive part, divided by its maximum, interpolated between cell centres.
        """
        return self.placement.rows(self._relative_map, first, last)

    def enlarged_rows(self, factor: int) -> Rows:
        """Return `heat_rows` for a copy of the photograph that is `factor` times as wide and as high."""
        return partial(self.placement.enlarged(factor).rows, self._relative_map)

    @cached_property
    def _relative_map(self) -> Float32:
        positive = shown_part(self.map, signed=False)
        return Scale(float(positive.max()), signed=False).share_of(positive)

    def boxes_at(self, threshold: float) -> list[Box]:
        """Return boxes around connected heat of at least `threshold` of the maximum, original pixels, hottest first."""
        return find_boxes(self.heat_rows, self.size, threshold=threshold)

    def polygons_at(self, threshold: float) -> list[Polygon]:
        """Return the outlines of the regions of `boxes_at`, in the same order, with their holes."""
        return find_polygons(self.heat_rows, self.size, threshold=threshold)

    def share(self, region: Region) -> float:
        """Return how much of the target's logit comes from a region of the original: exact for every method.

        region: (left, top, right, bottom) in pixels, right and bottom exclusive; a Box; or a mask, bool (H, W). The
        shares of all regions of the photograph, plus `bias`, add up to the logit; pixels that the model did not see add
        0. A cell is spread over pixels by its weight in the heat there, see `camserve.explanation.contributions`.
        Raises OptionError if the logits are not sums over places, or if the target is not a logit or a difference of
        two logits.
        """
        return self._account.share(summed(self.target), region)

    def class_maps(self, most: int) -> ClassMaps:
        """Return the exact map of each class, for every method: the explained classes first, then the best ones.

        most: the most numbers in all maps together; classes beyond it are left out. Raises the OptionError of `at`.
        """
        asked = [index for index in (self.target.index, self.target.against) if index is not None]
        return self._account.class_maps(list(dict.fromkeys((*asked, *ranked(self._answers)))), most)

    @property
    def bias(self) -> float:
        """The part of the target's logit that comes from no place. Raises the OptionError of `share`."""
        return self._account.bias_of(summed(self.target))

    def at(self, x: float, y: float, count: int = 5) -> list[Vote]:
        """Return the classes that the place (x, y) of the original, in pixels, speaks most for, best first.

        The numbers come from the exact class maps, for every method and target: the logit without bias that the class
        would have if all places were like this place. Raises OptionError if the head has no class maps, or if the model
        did not see (x, y).
        """
        return self._account.votes(x, y, self.labels, count)

    @property
    def _account(self) -> Account:
        return account_at(self.account, self.layer, self.head)


def rank_of(found: Attribution, index: int) -> int:
    """Return the rank of a class in the model's answer, from 1, in the order of `top`."""
    return 1 + ranked(found._answers).index(index)
