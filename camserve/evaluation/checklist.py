"""START HERE: a checklist for whether explanations of a model can be trusted. `sanity(model)` runs all checks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from camserve.errors import CamserveError
from camserve.evaluation.bench import Bench, bench_of
from camserve.evaluation.check import Check, untold
from camserve.evaluation.of_learning import random_class, random_weights
from camserve.evaluation.of_maps import completeness, flip, layer, placement
from camserve.evaluation.of_network import batches, cut, engine, repeats, steady, trained
from camserve.images.reading import Source
from camserve.models.classifier import Classifier

# The checks by name, in order: if one of the first fails, all others mean nothing.
CHECKS: dict[str, Callable[[Bench], Check]] = {
    "trained": trained,
    "steady": steady,
    "autograd": cut,
    "engine": engine,
    "repeats": repeats,
    "batches": batches,
    "completeness": completeness,
    "layer": layer,
    "placement": placement,
    "flip": flip,
    "other class": random_class,
    "weights": random_weights,
}


@dataclass(frozen=True)
class Sanity:
    """The results of all checks. model: its name. method: the method whose maps were checked. pictures: their number.

    are_photographs: False if the pictures are made of coloured fields and noise.
    """

    model: str
    method: str
    pictures: int
    are_photographs: bool
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; checks that cannot tell do not count."""
        return all(check.passed is not False for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def to_dict(self) -> dict[str, Any]:
        """All results as plain values."""
        return {**vars(self), "passed": self.passed, "checks": [check.to_dict() for check in self.checks]}


def sanity(model: Classifier, images: Iterable[Source] | None = None, method: str | None = None) -> Sanity:
    """Check whether explanations of `model` can be trusted; see docs/sanity.md.

    images: three or more photographs of classes that the model knows; default: the photographs of the known answers in
    its card, else made pictures of coloured fields and noise. method: default: the method of the settings.
    Raises OptionError if the model gives features, or if the method does not work with it, UnknownName, ImageError.
    """
    bench = bench_of(model, images, method)
    return report(bench, run_checks(bench))


def report(bench: Bench, checks: Iterable[Check]) -> Sanity:
    """The report: the checks, with the model, the method and the pictures."""
    pictures, are_photographs = len(bench.photos), bench.are_photographs
    return Sanity(bench.model.name, bench.method.name, pictures, are_photographs, tuple(checks))


def run_checks(bench: Bench) -> Iterator[Check]:
    """Run one check after the other, and yield each at once. Raises OptionError if the pictures have no map."""
    _ = bench.explanations
    for name, check in CHECKS.items():
        try:
            yield check(bench)
        except CamserveError as error:
            yield untold(name, str(error))
