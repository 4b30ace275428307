"""A result outlives its model: it is numbers and a photograph, goes through pickle, and keeps no network alive."""

import copy
import gc
import multiprocessing
import pickle
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.errors import OptionError
from camserve.explanation import Explanation
from camserve.explanation.attribution import Attribution


def net() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 7))


@pytest.fixture(scope="module")
def small() -> camserve.Model:
    return camserve.load(net(), size=64)


@pytest.fixture(scope="module")
def made(small: camserve.Model) -> camserve.Explanation:
    return small.explain(picture(1, (90, 70)), target="class 2-class 3")


def same(one: Explanation, other: Explanation) -> None:
    """Whether they are equal in all that people see."""
    assert one.to_dict() == other.to_dict()
    assert np.array_equal(np.asarray(one.overlay(legend=True)), np.asarray(other.overlay(legend=True)))
    assert one.receptive_box(30, 20) == other.receptive_box(30, 20)
    regions = [(0, 0, 90, 70), (10, 5, 40, 60)]
    np.testing.assert_allclose([one.share(box) for box in regions], [other.share(box) for box in regions], atol=1e-6)
    assert one.bias == other.bias
    votes, others = one.at(30, 20, 7), other.at(30, 20, 7)
    assert [vote.class_name for vote in votes] == [vote.class_name for vote in others]
    np.testing.assert_allclose([v.logits for v in votes], [v.logits for v in others], atol=1e-6)


@pytest.mark.parametrize("way", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_copies_are_equal(made: camserve.Explanation, way: Callable[[Explanation], Explanation]) -> None:
    same(way(made), made)


@pytest.mark.parametrize("options", [{"sharp": True}, {"layer": ["0.1", "0.3"]}, {"method": "gradcam", "layer": "0.1"}])
def test_results_of_every_kind_go_through_pickle(small: camserve.Model, options: dict[str, object]) -> None:
    one = small.explain(picture(2, (80, 80)), **options)  # type: ignore[arg-type]
    other = pickle.loads(pickle.dumps(one))
    assert other.to_dict() == one.to_dict()
    if "gradcam" not in options.values():
        with pytest.raises(OptionError, match="explain with"):
            other.receptive_box(3, 3)


def length(one: camserve.Explanation) -> tuple[str, float]:
    return one.class_name, float(np.abs(one.map).sum())


def test_results_go_to_other_processes(made: camserve.Explanation) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(length, [made]) == [length(made)]


def test_a_kept_result_keeps_no_network_alive() -> None:
    model = camserve.load(net(), size=64)
    kept, whole = model.explain(picture(1, (90, 70))), weakref.ref(model.module)
    weights = [weakref.ref(part) for part in model.module.modules()]
    assert whole() is not None
    del model
    gc.collect()
    assert whole() is None and not any(part() for part in weights)
    assert kept.top(1)[0].class_name == kept.class_name


def test_a_pickled_result_holds_no_weights(model: camserve.Model) -> None:
    found = model.explain(picture(3, (320, 240))).attribution
    assert type(found) is Attribution
    maps = 4 * len(model.labels) * found.map.size
    assert len(pickle.dumps(found)) < maps + 100_000  # class maps, logits, names, and no matrix of 1000 x 1280 weights
    assert maps + 100_000 < 4 * 1000 * 1280


def test_an_attribution_and_a_photograph_make_the_explanation_again(made: camserve.Explanation) -> None:
    same(Explanation.of(made.attribution, made.photo, made.style), made)
    assert not hasattr(made.attribution, "photo")
