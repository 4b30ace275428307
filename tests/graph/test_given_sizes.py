"""Sizes that a network takes, hooks that count, what is refused; and what a module holds besides its weights."""

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.errors import ModelError
from camserve.graph.original.answer_parts import parts_of_answer
from camserve.graph.original.given import Given
from camserve.graph.original.guard import difference
from camserve.graph.original.logits import Part
from camserve.graph.original.state import fingerprint, fresh, same_chance, without_hooks

SIDE = 64


class Net(nn.Module):
    """A convolution, a mean and a linear layer, behind a condition on the image's sides."""

    def __init__(self, multiple: int = 1, *, fixed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5)
        self.multiple, self.fixed = multiple, fixed

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        assert height % self.multiple == width % self.multiple == 0, "no such multiple"
        assert not self.fixed or (height, width) == (SIDE, SIDE), "one size"
        return self.fc(self.conv(x).mean((2, 3)))


def given(module: nn.Module, side: int = SIDE, labels: int | None = None) -> Given:
    return Given(module.eval().requires_grad_(requires_grad=False), side, labels)


def image(side: int = SIDE) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("multiple", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("side", [64, 192, 256, 448])
def test_the_multiple_that_sides_must_be_of_is_found(multiple: int, side: int) -> None:
    one = given(Net(multiple), side)
    assert (one.multiple, one.takes_any_size) == (multiple, True)
    taken = [probe for probe in one.probes if probe.logits is not None]
    assert len(taken) >= 3
    assert any(wide != high for wide, high in (probe.size for probe in taken))
    sides = {edge for probe in taken for edge in probe.size}
    for stride in (step for step in (2, 4, 8, 16, 32) if step >= multiple):
        assert {-(-edge // stride) % 2 for edge in sides} == {0, 1}, stride  # padded
        assert {edge // stride % 2 for edge in sides} == {0, 1}, stride  # not padded
    assert any(edge % (2 * multiple) for edge in sides)  # no multiple of twice as much


def test_a_network_of_one_size_has_no_multiple() -> None:
    one = given(Net(fixed=True))
    assert (one.multiple, one.takes_any_size) == (0, False)
    assert [(probe.size, probe.logits is None, probe.reason) for probe in one.probes] == [
        ((64, 64), False, ""),
        ((45, 45), True, "one size"),
    ]
    assert difference(one, one) == ""


class Coarse(nn.Module):
    """A fine branch and a coarse one enlarged twice, which match at multiples of 8 alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fine, self.coarse, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 2, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fine(x)
        return self.fc((x + F.interpolate(self.coarse(x), scale_factor=2.0)).mean((2, 3)))


def test_branches_that_must_match_need_multiples() -> None:
    one = given(Coarse())
    assert one.multiple == 8
    assert [probe.size for probe in one.probes] == [(64, 64), (112, 104), (64, 96), (45, 45)]
    assert [probe.logits is None for probe in one.probes] == [False, False, False, True]


def test_hooks_that_only_look_are_left_out_and_those_that_change_are_not() -> None:
    seen, net = list[object](), Net()
    net.conv.register_forward_hook(lambda *call: seen.append(call[2]))
    one = given(net)
    seen.clear()
    with torch.no_grad():
        one(image())
        assert not seen
        net.conv.register_forward_hook(lambda *call: call[2].relu())
        changed = given(net)
        assert torch.equal(changed(image()), net(image()))
    assert difference(one, changed)


CLASSLESS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a map": (lambda logits: logits[..., None, None].expand(-1, -1, 4, 4), r"shape \(N, 5, 4, 4\); a classifier gives"),
    "indices": (lambda logits: logits.long(), "torch.int64, not with logits: it may give class indices"),
    "an embedding": (lambda logits: F.normalize(logits), r"length 1 \(5 numbers\): it is an embedding"),
    "nothing": (lambda logits: None, "NoneType, which holds no logits"),
    "an error": (lambda logits: logits @ logits, r"the network fails on an input of \(1, 3, 64, 64\)"),
    "two of a kind": (
        lambda logits: {"a": logits, "b": logits.abs()},
        r"several tensors could be .*: a \(N, 5\), b \(N, 5\)",
    ),
}


class Answering(Net):
    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(super().forward(x))


@pytest.mark.parametrize("how", CLASSLESS)
def test_what_answers_with_no_logits_is_refused_in_words(how: str) -> None:
    answer, words = CLASSLESS[how]
    with pytest.raises(ModelError, match=words):
        given(Answering(answer))


def test_answers_that_are_no_numbers_are_said() -> None:
    with pytest.raises(ModelError, match="answers an ordinary picture with NaN"):
        given(Answering(lambda logits: logits * float("nan")))


def test_numbers_of_an_embedding_may_be_classes_where_labels_say_so() -> None:
    assert given(Answering(lambda logits: F.normalize(logits)), labels=5).classes == 5


def test_certain_probabilities_are_no_embedding() -> None:
    one = given(Answering(lambda logits: (1e4 * logits).softmax(1)))
    assert one.classes == 5


def part_with_logits(answer: Any, labels: int | None, images: int) -> Part:
    return parts_of_answer(answer, images).choose(labels)


def tensors(*widths: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(0)
    return [torch.randn(2, width, generator=chance) for width in widths]


def test_the_part_of_an_answer_that_holds_the_logits() -> None:
    five, four, five_more = tensors(5, 4, 5)
    map_of_five = torch.zeros(2, 5, 3, 3)
    assert part_with_logits(five, None, 2) == Part()
    assert part_with_logits((five, map_of_five), None, 2) == Part((0,))
    assert part_with_logits({"logits": five, "pred": four}, None, 2) == Part(("logits",))
    assert part_with_logits((five, four), 4, 2) == Part((1,))
    assert part_with_logits({"a": five, "class_logits": five_more}, None, 2) == Part(("class_logits",))
    assert part_with_logits(SimpleNamespace(deep=[map_of_five, five]), None, 2) == Part(("deep", 1))
    assert part_with_logits(OrderedDict(out=five, aux=five_more), None, 2) == Part(("out",))


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_of_probabilities_and_their_own_logits_the_logits_are_taken(name: str) -> None:
    (logits,) = tensors(5)
    scores = logits.softmax(1) if name == "softmax" else logits.sigmoid()
    assert part_with_logits((scores, logits), None, 2) == Part((1,), name)
    assert part_with_logits({"scores": scores, "raw": logits}, None, 2) == Part(("raw",), name)


def test_one_of_several_tensors_is_not_taken_unasked() -> None:
    with pytest.raises(
        ModelError, match=r"tensors could be the logits: 0 \(N, 5\), 1 \(N, 4\)\. Choose one with output= .* or give as"
    ):
        part_with_logits(tuple(tensors(5, 4)), None, 2)
    with pytest.raises(ModelError, match=r"pooled_features \(N, 5\): features, not classes"):
        part_with_logits({"pooled_features": tensors(5)[0]}, None, 2)


class Holding(nn.Module):
    """Something of every kind that a call could change."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.count, self.kept = nn.Linear(2, 2), 0, {"a": [torch.zeros(2)]}
        self.register_buffer("mean", torch.zeros(2))
        self.settings = SimpleNamespace(window=(7, 7))


CHANGES: dict[str, Callable[[Any], object]] = {
    "a counter": lambda net: setattr(net, "count", 1),
    "a tensor in a list in a dict": lambda net: net.kept["a"][0].add_(1),
    "a key": lambda net: net.kept.update(b=1),
    "a buffer": lambda net: net.mean.add_(1),
    "an attribute of an object": lambda net: setattr(net.settings, "window", (5, 5)),
    "an attribute of a part": lambda net: setattr(net.linear, "seen", 3),
    "a new attribute": lambda net: setattr(net, "cache", torch.ones(1)),
    "a parameter": lambda net: net.linear.weight.detach().add_(1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_call_leaves_behind_is_seen_and_never_in_the_original(change: str) -> None:
    net = Holding()
    before, copied = fingerprint(net), fresh(net)
    assert fingerprint(copied) == before
    CHANGES[change](copied)
    assert fingerprint(copied) != before
    if change != "a parameter":  # those alone are shared
        assert fingerprint(net) == before


def test_a_fresh_module_shares_its_parameters() -> None:
    net = Holding()
    assert fresh(net).linear.weight is net.linear.weight
    assert fresh(net).mean is not net.mean


def test_without_hooks_pre_hooks_stay() -> None:
    net = nn.Linear(2, 2)
    net.register_forward_hook(lambda *call: call[2] + 1)
    net.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    x = torch.ones(1, 2)
    torch.testing.assert_close(without_hooks(net)(x), F.linear(2 * x, net.weight, net.bias))
    torch.testing.assert_close(net(x), F.linear(2 * x, net.weight, net.bias) + 1)


def test_the_same_chance_is_the_same_and_leaves_torch_s_own_alone() -> None:
    state = torch.random.get_rng_state()
    with same_chance():
        first = torch.rand(3)
    with same_chance():
        again = torch.rand(3)
    with same_chance(1):
        other = torch.rand(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
