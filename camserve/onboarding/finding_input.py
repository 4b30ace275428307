"""Finds the input that a network was trained with, using labelled photographs; describes it in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camserve.catalogue.method import Progress
from camserve.errors import ModelError, OptionError
from camserve.graph.devices import device_of, find_device
from camserve.graph.original.given import Given
from camserve.models.card_input import Input, Resize
from camserve.models.parts import Parts
from camserve.onboarding.labelled_photos import MOST, read_labelled
from camserve.onboarding.photo_trials import SIZES, Answer, Search, Trial, rows
from camserve.system.workers import Workers, shared

_BATCH = 16
# Fewer photographs hardly show a difference between preprocessings.
_FEW = 50


@dataclass(frozen=True)
class Found:
    """The result of the search. best: the preprocessing that it chose. stated: the one that it started with.

    labels: the class names; those of the folders if the user gave none. photographs: the number of photographs.
    forwards: the number of images that went through the network. trials: the best few, best first.
    """

    best: Trial
    stated: Trial
    labels: Sequence[str] | None
    photographs: int
    forwards: int
    trials: tuple[Trial, ...]

    def words(self, classes: int) -> str:
        """The results of the best and of the stated preprocessing in words."""
        count, chance = self.photographs, self.photographs / classes
        asked = f"{count} photographs" + (f" (no more than {MOST} are used)" if count == MOST else "")
        said = f"{asked}: {_right(self.best, count)}"
        if self.best is not self.stated:
            said += f"; with {said_of(self.stated.input)}: {_right(self.stated, count)}"
        if self.best.right <= 2 * chance + 1:
            said += "; hardly more than guessing: are the labels in the order of the logits, and is it this network?"
        elif count < _FEW:
            said += f"; {_FEW} or more photographs would give a clearer result"
        return f"{said}; {self.forwards} forwards"

    def table(self) -> list[dict[str, Any]]:
        """The trials as plain values."""
        return [
            {**trial.input.model_dump(mode="json", exclude_none=True), "right": trial.right,
             "photographs": self.photographs, "log_likelihood": round(trial.mean, 4)}
            for trial in self.trials
        ]  # fmt: skip


def find_input(parts: Parts, source: Path, given: Collection[str], progress: Progress | None = None) -> Found:
    """Try preprocessings on the photographs of `source`, see `read_labelled`, and take the best.

    given: the fields of the input that the user has stated; they are not changed.
    Raises OptionError, ImageError, and ModelError if the network takes no usual input size.
    """
    _check(parts)
    compute = parts.settings.compute
    workers = shared(compute.workers, compute.threads)
    network = workers.run(lambda: _at_some_size(parts, given))
    if parts.labels is not None and len(parts.labels) != network.classes:  # reported before the search, not after it
        raise ModelError(f"'{parts.name}' has {network.classes} classes, but {len(parts.labels)} labels were given")
    ask = _asking(network, workers)
    names = None if isinstance(parts.labels, Mapping) else parts.labels
    shown, labels = read_labelled(source, names, network.classes, parts.settings)
    asked = sorted({*SIZES, min(parts.card.input.sides)})
    sizes = [size for size in asked if (size, size) == network.size or _takes(ask, size)]
    search = Search(ask, shown, parts.card.input, given, sizes, progress)
    best = search.best()
    trials = tuple(rows(search.trials, best, search.stated))
    return Found(best, search.trials[search.stated], labels, len(shown.photos), search.forwards, trials)


def _check(parts: Parts) -> None:
    """Raise OptionError for an input for which --photos cannot try anything."""
    spec = parts.card.input
    if spec.channels not in ("RGB", "BGR") or spec.sides[0] != spec.sides[1]:
        raise OptionError(
            f"--photos works only for square RGB inputs, but this input is {said_of(spec)}: leave out --photos, and "
            "state the input that the network was trained with"
        )
    if spec.resize is not None:
        raise OptionError("--photos tries crops, but this model's library states the exact input: leave out --photos")
    if isinstance(parts.labels, Mapping):
        raise OptionError("--photos tests one output of the network: give only the labels of that output")


def said_of(spec: Input) -> str:
    """Describe an input in words."""
    bands = "" if spec.bands is None else f" {_numbers(spec.bands)}"
    cut = f"crop {spec.crop:.3g}" if spec.resize is None else _resized(spec.resize)
    return (
        f"{spec.sides[0]} x {spec.sides[1]} {spec.channels}{bands}, {cut}, {spec.resample}, "
        f"mean {_numbers(spec.mean)}, std {_numbers(spec.std)}"
    )


def _resized(resize: Resize) -> str:
    size = "as it is" if resize.sides is None and resize.short is None else f"resized to {resize.short or resize.sides}"
    last = {"middle": "cut from the middle", "none": "uncut", "first": "cut first"}[resize.cut]
    return f"{size}, {last}, as by {resize.like}"


def assumed_input(given: Collection[str], stated: Mapping[str, Any]) -> str:
    """A text about the fields of the input that are not stated; "" if all are."""
    names = ("size", "crop", "mean", "std", "channels", "resample")
    open_ = [name for name in names if name not in given and name not in stated]
    if not stated and open_:
        return f"the usual values for {', '.join(open_)}, which are not stated; --photos FOLDER finds them"
    return ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _right(trial: Trial, count: int) -> str:
    return f"{trial.right} right ({100 * trial.right / count:.0f} %, log-likelihood {trial.mean:.3f})"


def _at_some_size(parts: Parts, given: Collection[str]) -> Given:
    """The network, opened at its stated size, or at the first usual size that it takes."""
    module = parts.network().to(find_device(parts.settings.compute.device))
    labels, stated = None if parts.labels is None else len(parts.labels), min(parts.card.input.sides)
    first: ModelError | None = None
    for size in [stated] if "size" in given else dict.fromkeys((stated, *SIZES)):
        try:
            return Given(module, size, labels, parts.output)
        except ModelError as error:
            first = first or error
    assert first is not None
    raise first


def _asking(network: Given, workers: Workers) -> Answer:
    """Return a function (N, 3, h, w) -> (N, C) that runs the network in batches on all workers."""
    device, batch = device_of(network), _BATCH if network.together > 1 else 1

    def one(images: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = network(images.to(device))
            return answer.cpu()

    def asked(images: Tensor) -> Tensor:
        futures = [workers.submit(one, part) for part in torch.split(images, batch)]
        return torch.cat([future.result() for future in futures])

    return asked


def _takes(ask: Answer, size: int) -> bool:
    try:
        ask(torch.rand(1, 3, size, size))
    except Exception:  # a network may raise anything at a size that it does not take
        return False
    return True
