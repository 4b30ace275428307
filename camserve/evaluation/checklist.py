"""START HERE: whether explanations of a model can be trusted, as a checklist. `sanity(model)` runs all of it."""

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

# By name, in the order in which they are made: first what makes all others worthless.
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
    """What the checks found. model: its name. method: whose maps were checked. pictures: how many.

    are_photographs: False where the pictures are made ones of coloured fields and noise.
    """

    model: str
    method: str
    pictures: int
    are_photographs: bool
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; those that cannot tell do not count."""
        return all(check.passed is not False for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**vars(self), "passed": self.passed, "checks": [check.to_dict() for check in self.checks]}


def sanity(model: Classifier, images: Iterable[Source] | None = None, method: str | None = None) -> Sanity:
    """Whether explanations of `model` can be trusted, as far as checks show it; see docs/sanity.md.

    images: some photographs of what the model knows, three or more; default those of its card's known answers, else
    made pictures of coloured fields and noise. method: default the settings'.
    Raises OptionError where the model gives features or the method does not go with it, UnknownName, ImageError.
    """
    bench = bench_of(model, images, method)
    return report(bench, run_checks(bench))


def report(bench: Bench, checks: Iterable[Check]) -> Sanity:
    """Checks of a bench with what they are of."""
    pictures, are_photographs = len(bench.photos), bench.are_photographs
    return Sanity(bench.model.name, bench.method.name, pictures, are_photographs, tuple(checks))


def run_checks(bench: Bench) -> Iterator[Check]:
    """One check after the other, each as soon as it is made. Raises OptionError where the pictures have no map."""
    _ = bench.explanations
    for name, check in CHECKS.items():
        try:
            yield check(bench)
        except CamserveError as error:
            yield untold(name, str(error))
