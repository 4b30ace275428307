"""The input that a network was trained with, found with labelled photographs, and the same in words."""

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
# Fewer photographs hardly tell one preprocessing from another.
_FEW = 50


@dataclass(frozen=True)
class Found:
    """What the photographs say. best: the preprocessing taken. stated: the one begun with.

    labels: the class names, those of the folders where nobody gave others. photographs: how many were asked about.
    forwards: images that the network has seen. trials: the best few, the best one first.
    """

    best: Trial
    stated: Trial
    labels: Sequence[str] | None
    photographs: int
    forwards: int
    trials: tuple[Trial, ...]

    def words(self, classes: int) -> str:
        """How well the best and the stated preprocessing do."""
        count, chance = self.photographs, self.photographs / classes
        asked = f"{count} photographs" + (f" (no more than {MOST} are used)" if count == MOST else "")
        said = f"{asked}: {_right(self.best, count)}"
        if self.best is not self.stated:
            said += f"; with {said_of(self.stated.input)}: {_right(self.stated, count)}"
        if self.best.right <= 2 * chance + 1:
            said += "; hardly more than guessing: are the labels in the order of the logits, and is it this network?"
        elif count < _FEW:
            said += f"; {_FEW} or more photographs would tell more"
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

    given: the fields of the input that the user has stated, which stay as they are.
    Raises OptionError, ImageError, and ModelError where the network takes no input of any usual size.
    """
    _check(parts)
    compute = parts.settings.compute
    workers = shared(compute.workers, compute.threads)
    network = workers.run(lambda: _at_some_size(parts, given))
    if parts.labels is not None and len(parts.labels) != network.classes:  # said before the search, not after it
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
    """Raises OptionError for an input of which there is nothing to try."""
    spec = parts.card.input
    if spec.channels not in ("RGB", "BGR") or spec.sides[0] != spec.sides[1]:
        raise OptionError(
            f"--photos tries squares of red, green and blue, and this input is {said_of(spec)}: leave it out, and "
            "state what the network was trained with"
        )
    if spec.resize is not None:
        raise OptionError(
            "--photos tries crops, and this model's own library states its input to the pixel: leave it out"
        )
    if isinstance(parts.labels, Mapping):
        raise OptionError("--photos asks about one output of the network: give the labels of that output alone")


def said_of(spec: Input) -> str:
    """An input in words."""
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
    """Which fields of the input nobody has stated, in words; "" where there are none."""
    names = ("size", "crop", "mean", "std", "channels", "resample")
    open_ = [name for name in names if name not in given and name not in stated]
    if not stated and open_:
        return f"nobody states {', '.join(open_)}: these are the usual ones; --photos FOLDER finds them"
    return ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _right(trial: Trial, count: int) -> str:
    return f"{trial.right} right ({100 * trial.right / count:.0f} %, log-likelihood {trial.mean:.3f})"


def _at_some_size(parts: Parts, given: Collection[str]) -> Given:
    """The network, met at its stated size, or at the first of the usual ones that it takes."""
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
    """(N, 3, h, w) -> (N, C), in batches, on all of the workers."""
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
    except Exception:  # whatever a network raises at a size it does not take
        return False
    return True
