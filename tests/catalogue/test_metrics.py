"""The registry of metrics: names, groups, what is misspelt, and that every entry says what a reader needs."""

import pytest

from camserve.catalogue.metric import Asks, Group
from camserve.catalogue.metrics import METRICS, find_metric, metrics_of, parse_metrics
from camserve.errors import UnknownName

pytestmark = pytest.mark.quick


def test_names_and_groups_mean_their_metrics_in_the_registry_s_order() -> None:
    assert parse_metrics("pointing, insertion") == ("insertion", "pointing")
    assert parse_metrics(["robustness", "pixel-ap,insertion", "insertion"]) == (
        "insertion",
        "pixel_ap",
        "max_sensitivity",
    )
    assert parse_metrics("all") == tuple(METRICS)
    assert parse_metrics(list(Group)) == tuple(METRICS)
    assert {metric.group for metric in METRICS.values()} == set(Group)
    assert {metric.asks for metric in METRICS.values()} == set(Asks)


def test_no_metric_has_the_name_of_a_group_or_of_all() -> None:
    assert not set(METRICS) & {*Group, "all"}
    assert all(find_metric(name) is metric and name == metric.name for name, metric in METRICS.items())


@pytest.mark.parametrize(
    ("given", "close"), [("insertoin", "'insertion'"), ("faithfulnes", "'faithfulness'"), ("best iou", "'best_iou'")]
)
def test_a_misspelt_name_is_answered_with_the_nearest(given: str, close: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown metric or group of metrics '{given}'; did you mean {close}"):
        parse_metrics(given)


def test_a_name_alone_is_no_group() -> None:
    with pytest.raises(UnknownName, match="unknown metric 'localisation'"):
        find_metric("localisation")
    with pytest.raises(UnknownName, match="unknown metric or group of metrics ''"):
        parse_metrics("")


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_says_what_a_reader_needs(name: str) -> None:
    metric = METRICS[name]
    for text in (metric.title, metric.summary, metric.source, metric.unit, metric.definition, metric.tells):
        assert text.strip()
        assert not text.endswith(".")
    assert metric.does_not_tell
    low, high = metric.range
    assert low is None or high is None or low < high
    assert (metric.more_is_better is None) == (metric.group is Group.COMPLEXITY)
    needs_a_network = metric.asks not in (Asks.HEAT, Asks.MASK, Asks.IMAGES)
    assert (metric.cost != "nothing") == needs_a_network


def test_a_group_s_metrics() -> None:
    assert [metric.name for metric in metrics_of(Group.COMPLEXITY)] == ["sparseness", "entropy"]
