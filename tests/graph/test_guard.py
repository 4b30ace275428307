"""The guard finds every network broken on purpose, and lets pass what only rounds otherwise."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from oracles import input_of, lively, pixels
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.graph.original.given import Given
from camserve.graph.original.guard import difference
from camserve.graph.trace import trace
from camserve.models.engines.torch_engine import fold_batch_norm, prepared

SIDE = 64
SIDES = (32, 64, 96, 128, 160, 192, 224, 227, 240, 256, 288, 299, 331, 384, 448)
STRIDES = (2, 4, 8, 16, 32)
Run = Callable[[Tensor], Tensor]


class Whole(nn.Module):
    """What the broken ones are broken of: a stem, a pooling that drops an odd row, a residual step, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.pool, self.smooth = nn.AvgPool2d(2, 2), nn.AvgPool2d(3, 1, 1)
        self.inner, self.last = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.act, self.fc = nn.ReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.norm(self.stem(x))))
        x = x + self.inner(self.smooth(x))
        return self.fc(self.pooled(self.act(self.last(x))))

    def pooled(self, x: Tensor) -> Tensor:
        """(N, K, h, w) -> (N, K)."""
        return x.mean((2, 3))


class NoStep(Whole):
    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.norm(self.stem(x))))
        return self.fc(self.pooled(self.act(self.last(x))))


class LateActivation(Whole):
    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(self.stem(x)))
        x = x + self.inner(self.smooth(x))
        return self.fc(self.pooled(self.act(self.last(x))))


class Remembering(Whole):
    """Its pooling's window is that of the smallest or the first map it has met, as in a network that caches it."""

    window: tuple[int, int] | None = None

    def pooled(self, x: Tensor) -> Tensor:
        self.window = self.window or (x.shape[-2], x.shape[-1])
        down, across = (min(pair) for pair in zip(self.window, x.shape[-2:], strict=True))
        return x[..., :down, :across].mean((2, 3))


@pytest.fixture(scope="module")
def whole() -> Whole:
    net = lively(Whole(), SIDE)
    assert isinstance(net, Whole)
    return net.requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def given(whole: Whole) -> Given:
    return Given(whole, SIDE)


def as_another(kind: type[Whole], whole: Whole) -> Whole:
    other = copy.deepcopy(whole)
    other.__class__ = kind
    return other


def changed(whole: Whole, **parts: nn.Module) -> Whole:
    other = copy.deepcopy(whole)
    for name, part in parts.items():
        setattr(other, name, part)
    return other


def shifted(whole: Whole) -> Run:
    """A bias off by a thousandth of the spread of the logits."""
    spread = float(torch.sub(*torch.aminmax(whole(input_of(pixels(SIDE))))).abs())
    other = copy.deepcopy(whole)
    assert other.fc.bias is not None
    other.fc.bias[2] += 1e-3 * spread
    return other


def one_row_wrong(whole: Whole) -> Run:
    def run(images: Tensor) -> Tensor:
        images = images.clone()
        images[:, :, -1] = images[:, :, -2]
        return whole(images)

    return run


def first_answers_for_all(whole: Whole) -> Run:
    return lambda images: whole(images)[:1].expand(len(images), -1)


def rounded(whole: Whole) -> Run:
    other = copy.deepcopy(whole).bfloat16()
    return lambda images: other(images.bfloat16())


def with_statistics_of_the_batch(whole: Whole) -> Run:
    other = copy.deepcopy(whole)
    other.norm.train()
    return other


BROKEN: dict[str, Callable[[Whole], Run]] = {
    "an activation dropped": lambda whole: changed(whole, act=nn.Identity()),
    "an activation dropped at one of two places": lambda whole: as_another(LateActivation, whole),
    "a step deleted": lambda whole: as_another(NoStep, whole),
    "a normalisation left out": lambda whole: changed(whole, norm=nn.Identity()),
    "statistics of the batch": with_statistics_of_the_batch,
    "an average without the border's zeros": lambda whole: changed(
        whole, smooth=nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ),
    "an average that keeps the odd row": lambda whole: changed(whole, pool=nn.AvgPool2d(2, 2, ceil_mode=True)),
    "another function of the same window": lambda whole: changed(whole, smooth=nn.MaxPool2d(3, 1, 1)),
    "a window remembered": lambda whole: as_another(Remembering, whole),
    "wrong in a batch alone": first_answers_for_all,
    "one border row": one_row_wrong,
    "channels in another order": lambda whole: lambda images: whole(images.flip(1)),
    "a bias shifted": shifted,
    "numbers of 8 bits": rounded,
    "no numbers": lambda whole: lambda images: whole(images) * float("nan"),
    "a class more": lambda whole: lambda images: F.pad(whole(images), (0, 1)),
}
# Of those, the ones that are right at the size trained at, on the first image asked, or both.
HIDDEN = {"an average that keeps the odd row", "a window remembered"}


@pytest.mark.parametrize("how", BROKEN)
def test_a_network_broken_on_purpose_is_found(whole: Whole, given: Given, how: str) -> None:
    assert "its logits differ by " in difference(given, BROKEN[how](whole))


@pytest.mark.parametrize("how", sorted(HIDDEN))
def test_what_is_right_at_the_size_trained_at_is_found_at_the_others(whole: Whole, given: Given, how: str) -> None:
    assert difference(given, BROKEN[how](whole), sizes=1) == ""
    assert difference(given, BROKEN[how](whole))


def test_what_is_wrong_in_a_batch_alone_is_right_for_one_image(whole: Whole) -> None:
    image = input_of(pixels(SIDE))
    assert torch.equal(first_answers_for_all(whole)(image), whole(image))


def test_a_network_that_fails_is_said_to_fail_and_where(given: Given) -> None:
    def run(images: Tensor) -> Tensor:
        if images.shape[-1] > SIDE:
            raise AssertionError("no such size\nand more")
        return given(images)

    wider = given.probes[1].size
    assert difference(given, run) == f"at {wider[0]} x {wider[1]} pixels it fails: no such size"
    assert difference(given, run, sizes=1) == ""


@pytest.mark.parametrize("share", [0.5, 0.002])
def test_the_difference_is_a_share_of_the_spread_of_the_logits(given: Given, share: float) -> None:
    logits = given.probes[0].logits
    assert logits is not None
    spread = float(logits.max() - logits.min())
    said = difference(given, lambda images: given(images) + share * spread, sizes=1)
    found = re.fullmatch(rf"at {SIDE} x {SIDE} pixels its logits differ by ([\d.e-]+) of their spread", said)
    assert found is not None
    assert float(found[1]) == pytest.approx(share, rel=0.05)
    assert difference(given, lambda images: given(images) + share * spread, sizes=1, tolerance=1.01 * share) == ""


def reordered(whole: Whole) -> Run:
    """The same sums of places in another order: columns first, from the right."""

    def run(images: Tensor) -> Tensor:
        kept = list[Tensor]()
        handle = whole.last.register_forward_hook(lambda *call: kept.append(call[2]))
        whole(images)
        handle.remove()
        return whole.fc(kept[0].relu().flip(3).sum(3).flip(2).mean(2) / kept[0].shape[3])

    return run


def one_by_one(whole: Whole) -> Run:
    return lambda images: torch.cat([whole(image) for image in images.split(1)])


FAITHFUL: dict[str, Callable[[Whole], Run]] = {
    "itself": lambda whole: whole,
    "traced": trace,
    "folded": lambda whole: fold_batch_norm(trace(whole)),
    "channels last": lambda whole: lambda images: whole(images.contiguous(memory_format=torch.channels_last)),
    "as it is run": lambda whole: prepared(copy.deepcopy(trace(whole))),
    "sums in another order": reordered,
    "one image at a time": one_by_one,
    "twice as precise": lambda whole: lambda images: copy.deepcopy(whole).double()(images.double()),
}


@pytest.mark.parametrize("how", FAITHFUL)
def test_a_faithful_rewrite_passes(whole: Whole, given: Given, how: str) -> None:
    assert difference(given, FAITHFUL[how](whole)) == ""


def test_a_folded_network_is_another_one_that_has_no_normalisation(whole: Whole) -> None:
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fold_batch_norm(trace(whole)).modules())


@pytest.mark.parametrize("size", SIDES)
def test_the_sizes_asked_leave_other_remainders_and_odd_and_even_numbers_of_cells(size: int) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    sides = {side for probe in Given(net, size).probes[:3] for side in probe.size}  # a smaller one may not be taken
    assert len(sides) == 5
    for stride in STRIDES:
        assert {-(-side // stride) % 2 for side in sides} == {0, 1}, stride  # padded
        assert {side // stride % 2 for side in sides} == {0, 1}, stride  # not padded
        assert len({side % stride for side in sides}) >= min(stride, 4), stride
        assert all(side // stride > size // stride for side in sides - {size}), stride


@pytest.mark.parametrize("remainder", range(4))
def test_what_is_wrong_at_one_remainder_is_found(remainder: int) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    given = Given(net.eval().requires_grad_(requires_grad=False), SIDE)
    sides = {side % 4 for probe in given.probes for side in probe.size}

    def run(images: Tensor) -> Tensor:
        wrong = any(side % 4 == remainder for side in images.shape[2:])
        return net(images) + float(wrong)

    assert remainder in sides
    assert difference(given, run)
