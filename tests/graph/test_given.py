"""What is found out of a network when it is given: how it is called, what it answers, and what it leaves behind."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.graph.devices import structured
from camserve.graph.original.given import NO_LOGITS, PERHAPS, UNLIKE, Given
from camserve.graph.original.guard import difference
from camserve.graph.original.state import fingerprint

SIDE = 32


class Plain(nn.Module):
    """Two convolutions, a mean and a linear layer; `asked` says what is done with the logits and the map."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.fc = nn.Linear(8, classes)

    def logits(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images).mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self.logits(x)


class Answering(Plain):
    """Answers with whatever a function makes of itself and the images."""

    def __init__(self, answer: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self, x)


def given(module: nn.Module, side: int = SIDE, labels: int | None = None) -> Given:
    return Given(module.eval().requires_grad_(requires_grad=False), side, labels)


def images(width: int = SIDE, height: int = SIDE, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_answers_as(one: Given, module: Plain, *, exact: bool = True) -> None:
    with torch.no_grad():
        expected = module.logits(images())
        torch.testing.assert_close(one(images()), expected, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)


def test_a_plain_network() -> None:
    net = Plain()
    one = given(net)
    assert (one.classes, one.keyword, one.part.way, one.kind.name, one.dtype) == (5, None, (), "logits", torch.float32)
    assert (one.remembers, one.together, one.writes, one.scores, one.notes) == (False, 2, False, None, [])
    assert (one.multiple, one.takes_any_size, one.is_random) == (1, True, False)
    assert [probe.size for probe in one.probes] == [(32, 32), (85, 64), (74, 67), (22, 23)]
    assert [len(probe.images) for probe in one.probes] == [2, 1, 1, 1]
    assert_answers_as(one, net)


def test_what_was_asked_is_kept_with_the_module_s_answer() -> None:
    net = Plain()
    for probe in given(net).probes:
        assert torch.equal(probe.images, structured(net, *probe.size, len(probe.images)))
        assert probe.logits is not None
        torch.testing.assert_close(probe.logits, net(probe.images), rtol=0, atol=0)


class PixelsSecond(Plain):
    def forward(self, input_ids: Tensor | None = None, pixel_values: Tensor | None = None) -> Tensor:
        assert input_ids is None
        assert pixel_values is not None
        return self.logits(pixel_values)


class ByName(Plain):
    def forward(self, *, photographs: Tensor) -> Tensor:  # type: ignore[override]
        return self.logits(photographs)


class PixelsFirst(Plain):
    def forward(self, pixel_values: Tensor, head_mask: Tensor | None = None) -> Tensor:
        assert head_mask is None
        return self.logits(pixel_values)


@pytest.mark.parametrize(
    ("kind", "keyword"), [(PixelsSecond, "pixel_values"), (ByName, "photographs"), (PixelsFirst, None), (Plain, None)]
)
def test_images_go_to_the_argument_that_takes_them(kind: type[Plain], keyword: str | None) -> None:
    net = kind()
    assert given(net).keyword == keyword
    assert_answers_as(given(net), net)


ANSWERS: dict[str, tuple[Callable[[Any, Tensor], Any], tuple[str | int, ...]]] = {
    "a list of one": (lambda net, x: [net.logits(x)], (0,)),
    "a pair with a map": (lambda net, x: (net.body(x), net.logits(x)), (1,)),
    "a dict": (lambda net, x: {"features": net.body(x).mean((2, 3)), "logits": net.logits(x)}, ("logits",)),
    "an object": (lambda net, x: SimpleNamespace(out=net.logits(x), aux=None), ("out",)),
    "an object in a tuple": (lambda net, x: (SimpleNamespace(scores=net.logits(x)),), (0, "scores")),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_the_logits_are_found_in_what_holds_them(how: str) -> None:
    answer, way = ANSWERS[how]
    net = Answering(answer)
    assert given(net).part.way == way
    assert given(net).classes == 5
    assert_answers_as(given(net), net)


KINDS: dict[str, tuple[Callable[[Any, Tensor], Any], str | None]] = {
    "softmax": (lambda net, x: net.logits(x).softmax(1), "softmax"),
    "log-softmax": (lambda net, x: F.log_softmax(net.logits(x), 1), "softmax"),
    "sigmoid": (lambda net, x: torch.sigmoid(net.logits(x)), "sigmoid"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_before_probabilities_are_read(kind: str) -> None:
    answer, scores = KINDS[kind]
    net = Answering(answer)
    one = given(net)
    assert (one.kind.name, one.kind.readable, one.scores, one.notes) == (kind, True, scores, [])
    assert_answers_as(one, net)


def by_hand(net: Any, x: Tensor) -> Tensor:
    powers = net.logits(x).exp()
    return powers / powers.sum(1, keepdim=True)


def test_probabilities_made_by_hand_are_explained_by_their_logarithm() -> None:
    net = Answering(by_hand)
    one = given(net)
    assert (one.kind.name, one.kind.readable, one.notes) == ("softmax", False, [NO_LOGITS])
    with torch.no_grad():
        torch.testing.assert_close(one(images()), net.logits(images()).log_softmax(1))


def test_what_only_looks_like_probabilities_stays_as_it_is() -> None:
    net = Answering(lambda net, x: 0.5 + net.logits(x).tanh() / 4)
    one = given(net)
    assert (one.kind.name, one.scores, one.notes) == ("perhaps", None, [PERHAPS])
    assert torch.equal(one(images()), net(images()))


class Window(Plain):
    """Averages over the smallest map that it has seen."""

    window = 99

    def logits(self, images: Tensor) -> Tensor:
        values = self.body(images)
        self.window = min(self.window, *values.shape[2:])
        return self.fc(values[..., : self.window, : self.window].mean((2, 3)))


class First(Window):
    """Averages over the first map it has seen, where that is smaller: only larger images tell."""

    def logits(self, images: Tensor) -> Tensor:
        values = self.body(images)
        self.window = values.shape[2] if self.window == 99 else self.window
        return self.fc(values[..., : self.window, : self.window].mean((2, 3)))


class Counts(Plain):
    """Counts its calls, which changes no answer."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.logits(x)


class Fed(Plain):
    """Adds a part of what it answered before."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        answer = self.logits(x) + self.last
        self.last += 0.1 * answer.detach().mean(0)
        return answer


@pytest.mark.parametrize(
    ("kind", "remembers"), [(Window, True), (First, True), (Fed, True), (Counts, False), (Plain, False)]
)
def test_a_call_that_changes_later_answers_is_noticed(kind: type[Plain], *, remembers: bool) -> None:
    net = kind().eval().requires_grad_(requires_grad=False)
    before = fingerprint(net)
    one = given(net)
    assert one.remembers is remembers
    assert not one.is_random
    assert fingerprint(net) == before  # the user's own has been asked nothing
    if remembers:
        first = one(images())
        one(images(24, 20))
        assert torch.equal(one(images()), first)
        assert torch.equal(first, kind().eval()(images()))
        assert fingerprint(net) == before


def test_the_guard_finds_a_window_that_remembers_earlier_sizes() -> None:
    one = given(Window())
    assert difference(one, one) == ""
    used = Window().eval()
    used(images(16, 16))
    assert "at 32 x 32 pixels its logits differ by" in difference(one, used)


def test_chance_is_said_and_is_no_memory() -> None:
    one = given(Answering(lambda net, x: net.fc(F.dropout(net.body(x).mean((2, 3)), 0.5, training=True))))
    assert (one.notes, one.is_random, one.remembers) == ([UNLIKE], True, False)
    assert difference(one, one) == ""  # both are asked with the same chance


def test_a_network_of_chance_leaves_the_chance_of_others_alone() -> None:
    net = Answering(lambda net, x: net.logits(x) + torch.rand(1))
    state = torch.random.get_rng_state()
    given(net)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_network_of_one_image_at_a_time() -> None:
    net = Answering(lambda net, x: net.logits(x).view(5))
    one = given(net)
    assert one.together == 1
    assert one(images()).shape == (1, 5)
    assert_answers_as(one, net)


def test_a_network_that_writes_into_its_images_is_given_its_own() -> None:
    net = Answering(lambda net, x: net.logits(x.sub_(0.3)))
    one, asked = given(net), images()
    with torch.no_grad():
        expected = net.logits(images() - 0.3)
        assert torch.equal(one(asked), expected)
    assert one.writes
    assert torch.equal(asked, images())
    assert not given(Plain()).writes
