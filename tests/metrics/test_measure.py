"""Every metric of the registry, run by its entry: what it asks, what it says without it, and the range it is in."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from measured_subjects import subject

from camserve.catalogue.metric import Asks
from camserve.catalogue.metrics import METRICS, find_metric
from camserve.errors import OptionError, UnknownName
from camserve.metrics import of_scipy
from camserve.metrics.baselines import BASELINES, random
from camserve.metrics.heat import Float
from camserve.metrics.localisation import cell_of_grid
from camserve.metrics.measure import function_of, measure
from camserve.metrics.subject import Float32, Subject

pytestmark = pytest.mark.quick

SHAPE = (14, 16)
IMAGE = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


def of(heat: Float) -> Subject:
    """A subject whose score is a sigmoid of its mean, and whose map of another input is its first channel."""
    value = lambda one: float(one.mean())  # noqa: E731
    score = lambda one: 1 / (1 + np.exp(-value(one)))  # noqa: E731
    return subject(IMAGE, heat, score, value, explain=lambda images: images[0, 0], bias=0.5)


def everything(heat: Float) -> dict[str, Any]:
    return {
        "subject": of(heat),
        "inside": cell_of_grid(SHAPE, 2, 0, 1),
        "maps_of": lambda stage: random(SHAPE, stage + 1),
        "stages": 2,
    }


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_a_number_in_its_range_of_every_baseline(name: str, baseline: str) -> None:
    metric = METRICS[name]
    value = measure(metric, **everything(BASELINES[baseline](SHAPE)))
    low, high = metric.range
    assert isinstance(value, float)
    assert (low is None or low <= value) and (high is None or value <= high)


@pytest.mark.parametrize("name", METRICS)
def test_without_what_it_asks_a_metric_says_nothing(name: str) -> None:
    assert measure(name) is None
    needed = METRICS[name].asks
    given = everything(random(SHAPE))
    if needed in (Asks.MASK, Asks.IMAGES):
        assert measure(name, **given | {"inside": None}) is None
    elif needed in (Asks.WEIGHTS, Asks.CLASSES):
        assert measure(name, **given | {"maps_of": None}) is None
    else:
        alone = measure(name, heat=random(SHAPE))
        assert (alone is None) == (needed is Asks.SUBJECT)


def test_a_metric_runs_the_network_as_often_as_the_registry_says() -> None:
    for metric in METRICS.values():
        if metric.asks is not Asks.SUBJECT:
            continue
        done = Counter[str]()

        def score(one: Float32, done: Counter[str] = done) -> float:
            done["runs"] += 1
            return 0.5

        def explain(images: Float32, done: Counter[str] = done) -> Float32:
            done["maps"] += 1
            return images[0, 0]

        assert measure(metric, subject(IMAGE, random(SHAPE), score, explain=explain, bias=0.0)) is not None
        assert (done["runs"], done["maps"]) == (metric.forwards, metric.maps), metric.name


def test_heat_and_map_given_go_before_the_subject_s() -> None:
    inside = cell_of_grid(SHAPE, 2, 1, 0)
    assert measure("energy", of(random(SHAPE)), heat=inside.astype(float), inside=inside) == 1
    same = random(SHAPE, 5)
    assert measure("cascade_spearman", of(random(SHAPE)), found=same, maps_of=lambda stage: same, stages=1) == 1


def test_each_entry_has_a_function_of_its_own() -> None:
    functions = [function_of(metric) for metric in METRICS.values()]
    assert len(set(functions)) == len(METRICS)
    assert all(function.__name__ == metric.name for function, metric in zip(functions, METRICS.values(), strict=True))
    with pytest.raises(UnknownName, match="did you mean 'deletion'"):
        measure("deleton")


@pytest.mark.parametrize("name", ["road", "max_box_acc_v2"])
def test_without_scipy_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(of_scipy, "import_module", missing)
    with pytest.raises(OptionError, match=f"'{name}' needs scipy.*pip install 'camserve\\[metrics\\]'"):
        measure(find_metric(name), **everything(random(SHAPE)))
