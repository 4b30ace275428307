"""What methods cost: in numbers, and in the words people read, which stay as they are."""

import json
import re

import pytest

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import NOTHING, Cost, Each, Facts, Needs, Runs
from camserve.catalogue.methods import FAMILIES, METHODS

# As printed by `camserve methods` and docs/methods.md; all others say "no extra forward pass".
WORDS = {
    "smoothgradcam++": "8 forward and backward passes of the head; no cost under a linear head",
    "shapleycam": "two backward passes of the head",
    "refinecam": "a forward and a backward pass for each stage",
    "ablationcam": "K forward passes of the head, one per channel; no cost under a linear head",
    "reciprocam": "h w forward passes of the head, one per cell; no cost under a linear head",
    "groupcam": "33 forward passes and the head's gradient",
    "scorecam": "K forward passes, one per channel",
    "iscam": "10 K forward passes",
    "sscam": "35 K forward passes",
    "opticam": "100 forward and backward passes of the network",
    "polycam": "2 forward passes for each channel of every stage",
    "occlusion": "at most 170 forward passes",
    "rise": "1000 forward passes",
    "integratedgradients": "32 forward and backward passes of the network",
    "fullgrad": "one forward and backward pass of the network, and a forward pass for each stage",
    "guidedbackprop": "one forward and backward pass of the network",
    "guidedgradcam": "one forward and backward pass of the network",
    "legrad": "two forward passes, and a backward pass for every block; also a forward pass for every block where "
    "torch.fx sees no graph",
    "attentionrollout": "one forward pass",
    "eigencam": "one singular value decomposition",
    "eigengradcam": "one singular value decomposition",
    "kpcacam": "eigenvectors of a cells x cells matrix",
}
SPELLED = {"no extra": 0, "a": 1, "one": 1, "two": 2}
# What has no number: its eigenvectors are found by steps that depend on the matrix.
UNCOUNTED = {"kpcacam"}


@pytest.mark.parametrize("name", METHODS)
def test_words_are_what_they_were(name: str) -> None:
    assert str(METHODS[name].cost) == WORDS.get(name, "no extra forward pass")
    assert METHODS[name].described()["cost"] == str(METHODS[name].cost)


@pytest.mark.parametrize("name", METHODS)
def test_the_number_is_the_one_in_the_words(name: str) -> None:
    cost = METHODS[name].cost
    assert not re.search(r"\d", cost.words)  # a number is written once
    if name in UNCOUNTED:
        assert cost.count is None
    elif "{n}" in cost.words:
        assert cost.count is not None
        assert re.search(rf"\b{cost.count}\b" if cost.count > 1 else rf"\b{cost.each}\b", str(cost))
    else:
        assert next(number for word, number in SPELLED.items() if str(cost).startswith(f"{word} ")) == cost.count


def test_a_layer_s_numbers_stand_for_its_symbols() -> None:
    def counted(name: str, head: HeadKind = HeadKind.GENERAL) -> str:
        return METHODS[name].cost.counted(112, 14 * 14, head)

    assert counted("sscam") == "3920 forward passes"
    assert counted("scorecam", HeadKind.LINEAR) == "112 forward passes, one per channel"
    assert counted("reciprocam") == "196 forward passes of the head, one per cell"
    assert counted("ablationcam") == "112 forward passes of the head, one per channel"
    assert counted("smoothgradcam++") == "8 forward and backward passes of the head"
    for free in ("ablationcam", "reciprocam", "smoothgradcam++"):
        assert counted(free, HeadKind.LINEAR) == "no extra forward pass"
    for same in set(METHODS) - {method.name for method in METHODS.values() if method.cost.each}:
        assert counted(same) == WORDS.get(same, "no extra forward pass").removesuffix("; no cost under a linear head")


def test_a_cost_on_paper() -> None:
    assert (str(NOTHING), NOTHING.count) == ("no extra forward pass", 0)
    assert str(Cost(3, "{n} steps", Each.CELL)) == "3 h w steps"
    assert Cost(3, "{n} steps", Each.CELL).counted(5, 4, HeadKind.LINEAR) == "12 steps"


def test_runs_are_counted_and_timed_by_hand() -> None:
    facts = Facts(channels=5, cells=4, head=HeadKind.GENERAL, stages=(2, 3, 7))
    linear = Facts(channels=5, cells=4, head=HeadKind.LINEAR, stages=(2, 3, 7))
    runs = {
        name: METHODS[name].cost.runs(facts) for name in ("scorecam", "sscam", "reciprocam", "polycam", "refinecam")
    }
    assert runs == {"scorecam": 5, "sscam": 175, "reciprocam": 4, "polycam": 24, "refinecam": 3}
    assert METHODS["reciprocam"].cost.runs(linear) == METHODS["cam"].cost.runs(facts) == 0
    one = {Runs.FORWARD: 2.0, Runs.GRADIENT: 10.0, Runs.HEAD: 0.5}
    seconds = {name: METHODS[name].cost.seconds(facts, one) for name in ("rise", "opticam", "reciprocam", "eigencam")}
    assert seconds == {"rise": 2000, "opticam": 1000, "reciprocam": 2, "eigencam": 0}


@pytest.mark.parametrize("name", METHODS)
def test_what_runs_the_network_says_so(name: str) -> None:
    cost = METHODS[name].cost
    words = cost.words.removesuffix("no extra forward pass")
    assert (cost.of is not None) == ("forward" in words or "backward" in words)
    assert (cost.of is Runs.HEAD) == ("head" in words and name != "groupcam")


def test_needs_are_words_in_json_and_few() -> None:
    described = json.loads(json.dumps([method.described() for method in METHODS.values()]))
    assert {one["needs"] for one in described} == {"any head", "linear head", "ReLUs", "attention"} == set(Needs)
    assert {one["name"] for one in described if one["needs"] == "linear head"} == {"cam", "affinitycam"}
    assert {m.name for m in FAMILIES["Attention"]} == {one["name"] for one in described if one["needs"] == "attention"}
