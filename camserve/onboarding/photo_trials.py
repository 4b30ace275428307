"""Finds the preprocessing that a network was trained with: tries several on photographs whose class is known.

A preprocessing is judged by the mean logarithm of the right class's probability. With a few dozen photographs, this
shows differences that the number of right answers does not show. The probabilities use the best temperature, so that
the network's confidence makes no difference. Another value must be better by 1.5 standard errors on the same
photographs; otherwise chance would choose between values that make no difference.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from camserve.catalogue.method import Progress
from camserve.geometry.frame import crop
from camserve.images.reading import Photo
from camserve.models.card_input import IMAGENET_MEAN, IMAGENET_STD, Deviations, Input, Means
from camserve.models.inputs.preprocessing import to_input

SIZES = (32, 64, 96, 128, 160, 192, 224, 227, 240, 256, 260, 288, 299, 320, 384, 448, 512)
# The sizes of the first look. The sizes near the best one, up to this factor, are tried later.
_ROUGH, _NEAR = (32, 64, 128, 224), 1.5
_CROPS = (1.0, 0.95, 0.875)
_RESAMPLING = ("bilinear", "bicubic", "lanczos")
# The pairs (mean, std) of RGB that training scripts use, in units of 0..255.
_SCALES: tuple[tuple[Means, Deviations], ...] = (
    (IMAGENET_MEAN, IMAGENET_STD),
    ((0, 0, 0), (255, 255, 255)),
    ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ((127, 127, 127), (128, 128, 128)),
    ((123, 117, 104), (1, 1, 1)),  # Caffe's
    ((0, 0, 0), (1, 1, 1)),
    ((122.771, 116.746, 104.094), (68.501, 66.632, 70.323)),  # CLIP's
)
# The photographs of the first look; how many of its best are tried with all photographs; the rounds of single changes.
_FIRST, _FINALISTS, _ROUNDS = 20, 4, 3
# Another value must be better than the current one by this many standard errors.
_CLEARLY = 1.5
_TEMPERATURES = tuple(2 ** (power / 2) for power in range(-8, 9))

# (N, 3, h, w) -> (N, C), logits
Answer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shown:
    """Photographs, and the index of the class that each shows."""

    photos: Sequence[Photo]
    classes: Sequence[int]


@dataclass(frozen=True)
class Trial:
    """The result of a network on photographs with one preprocessing.

    right: the number of right answers. logs: (N,) logarithms of the right class's probability.
    """

    input: Input
    right: int
    logs: Tensor = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean logarithm: 0 is best; guessing among C classes gives -log C."""
        return float(self.logs.mean())

    def is_better(self, other: "Trial") -> bool:
        """Whether it is better than `other` by clearly more than chance, on the same photographs."""
        gains = (self.logs - other.logs).double()
        return len(gains) > 1 and float(gains.mean()) > _CLEARLY * float(gains.std()) / math.sqrt(len(gains))


class Search:
    """Tries preprocessings of `shown`, starting with `stated`, and changes no field in `given`.

    sizes: the sizes that the network takes. progress: called with (passes done, passes in total), the total estimated.
    trials: the trials with all photographs, in order. forwards: the number of images that went through the network.
    """

    def __init__(
        self,
        answer: Answer,
        shown: Shown,
        stated: Input,
        given: Iterable[str],
        sizes: Iterable[int],
        progress: Progress | None = None,
    ) -> None:
        self._answer, self._shown, self._given, self._progress = answer, shown, frozenset(given), progress
        self._sizes = [min(stated.sides)] if "size" in self._given else sorted({*sizes})
        self.stated = stated if min(stated.sides) in self._sizes else _with(stated, size=self._sizes[0])
        self.trials: dict[Input, Trial] = {}
        self.forwards = 0
        self._planes: tuple[Any, Tensor] | None = None

    def best(self) -> Trial:
        """The stated preprocessing, or a clearly better one that the search finds."""
        best = self._chosen(self._tried(self.stated), self._promising())
        for _ in range(_ROUNDS):
            before = best
            for ways in (self._other_sizes, self._other_crops, self._other_scales, self._other_resampling):
                best = self._chosen(best, ways(best.input))
            if best is before:
                break
        return best

    def _chosen(self, best: Trial, others: Iterable[Input]) -> Trial:
        """The best of `others` that are clearly better than `best`; else `best`.

        It prefers one with the stated mean and std, unless another is clearly better than that one.
        """
        better = sorted((trial for trial in map(self._tried, others) if trial.is_better(best)), key=_worse_last)
        stated = [trial for trial in better if self._scaled_as_stated(trial.input)]
        return next((trial for trial in stated if not better[0].is_better(trial)), better[0] if better else best)

    def _scaled_as_stated(self, way: Input) -> bool:
        own = self.stated.mean, self.stated.std
        return (way.mean, way.std) in (own, (own[0][::-1], own[1][::-1]))

    def _promising(self) -> list[Input]:
        """The best pairs of scale and rough size on a few photographs; neither can be found without the other."""
        few = Shown(self._shown.photos[:_FIRST], self._shown.classes[:_FIRST])
        rough = dict.fromkeys([min(self.stated.sides), *(size for size in self._sizes if size in _ROUGH)])
        ways = [way for size in rough for way in self._scaled(self._sized(self.stated, size), "RGB")]
        means = {way: self._trial(way, few).mean for way in ways}
        least = sorted(means.values(), reverse=True)[:_FINALISTS][-1]
        finalists = [way for way, mean in means.items() if mean >= least]
        at_their_sizes = [_with(way, mean=self.stated.mean, std=self.stated.std) for way in finalists]
        return list(dict.fromkeys(one for way in finalists + at_their_sizes for one in (way, *self._turned(way))))

    def _other_sizes(self, at: Input) -> list[Input]:
        side = min(at.sides)
        near = sorted(self._sizes, key=lambda size: abs(size - side))
        near = [size for size in near if side / _NEAR < size < side * _NEAR]
        return [self._sized(at, size) for size in near]

    def _sized(self, at: Input, size: int) -> Input:
        """`at` with another size, without a crop if all photographs already have this size and no crop is given."""
        whole = "crop" not in self._given and all(min(photo.size) == size for photo in self._shown.photos)
        return _with(at, size=size, **({"crop": 1.0} if whole else {}))

    def _other_crops(self, at: Input) -> list[Input]:
        return [] if "crop" in self._given else [_with(at, crop=share) for share in _CROPS]

    def _other_scales(self, at: Input) -> list[Input]:
        return [*self._scaled(at, at.channels), *self._turned(at)]

    def _other_resampling(self, at: Input) -> list[Input]:
        return [] if "resample" in self._given else [_with(at, resample=name) for name in _RESAMPLING]

    def _scaled(self, at: Input, channels: str) -> list[Input]:
        """`at` with each mean and std, and the channels in that order unless an order is given."""
        order = at.channels if "channels" in self._given else channels
        if "mean" in self._given:
            return [_with(at, channels=order)]
        turn = slice(None, None, 1 if order == "RGB" else -1)
        own = [] if order != at.channels else [at]
        return own + [_with(at, channels=order, mean=mean[turn], std=std[turn]) for mean, std in _SCALES]

    def _turned(self, at: Input) -> list[Input]:
        """`at` with the channels, mean and std in reverse order, unless they are given."""
        if "channels" in self._given:
            return []
        order = "RGB" if at.channels == "BGR" else "BGR"
        scale = {} if "mean" in self._given else {"mean": at.mean[::-1], "std": at.std[::-1]}
        return [_with(at, channels=order, **scale)]

    def _tried(self, way: Input) -> Trial:
        if way not in self.trials:
            self.trials[way] = self._trial(way, self._shown)
        return self.trials[way]

    def _trial(self, way: Input, shown: Shown) -> Trial:
        planes = self._resampled(way, shown)
        planes = planes.flip(1) if way.channels == "BGR" else planes
        mean, std = (torch.tensor(values)[:, None, None] for values in (way.mean, way.std))
        logits = self._answer((planes - mean) / std)
        self.forwards += len(logits)
        if self._progress is not None:
            in_all = len(_ROUGH) * len(_SCALES) * _FIRST + 40 * len(self._shown.photos)
            self._progress(self.forwards, max(in_all, self.forwards))
        places = torch.arange(len(logits)), torch.tensor(shown.classes)
        logs = [(logits / degree).log_softmax(1)[places] for degree in _TEMPERATURES]
        right = int((logits.argmax(1) == places[1]).sum())
        return Trial(way, right, max(logs, key=lambda each: float(each.mean())))

    def _resampled(self, way: Input, shown: Shown) -> Tensor:
        """The photographs as (N, 3, size, size), RGB, 0..255; the latest size, crop and resampling are cached."""
        key = way.size, way.crop, way.resample, len(shown.photos)
        if self._planes is None or self._planes[0] != key:
            plain = Input(size=way.size, crop=way.crop, resample=way.resample, mean=(0, 0, 0), std=(1, 1, 1))
            frames = ((photo, crop(photo.size, way.sides, share=way.crop)) for photo in shown.photos)
            self._planes = key, torch.cat([to_input(photo, frame, plain) for photo, frame in frames])
        return self._planes[1]


def _worse_last(trial: Trial) -> float:
    return -trial.mean


def _with(way: Input, **changes: Any) -> Input:
    return Input(**{**way.model_dump(), **changes})


def rows(trials: Mapping[Input, Trial], best: Trial, stated: Input, count: int = 8) -> list[Trial]:
    """The best trial, the stated one and the next best ones, `count` in total, best first."""
    others = sorted(trials.values(), key=_worse_last)
    kept = dict.fromkeys(trial.input for trial in (best, trials[stated], *others))
    return sorted((trials[way] for way in list(kept)[:count]), key=lambda trial: (trial is not best, -trial.mean))
