"""Each kind of head: recognised, and its gradients and maps equal to those of autograd and of paper."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.graph.cut import split
from camserve.graph.head_recognition import head_of
from camserve.graph.heads import ClassMapHead, autograd_gradients
from camserve.graph.trace import trace
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence


class Net(nn.Module):
    """A convolution, and whatever head is given."""

    def __init__(self, *head: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 6, 3)
        self.head = nn.Sequential(*head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class Sized(Net):
    """CIFAR networks pool by the size the maps happen to have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = F.avg_pool2d(x, x.size()[3])
        return self.head(x.view(x.size(0), -1))


class Mean(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean([2, 3]))


def pool() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


HEADS = {
    "linear": (lambda: Net(*pool(), nn.Dropout(), nn.Linear(6, 4)), "linear"),
    "linear after mean": (lambda: Mean(nn.Linear(6, 4, bias=False)), "linear"),
    "linear, pooled by size": (lambda: Sized(nn.Linear(6, 4)), "linear"),
    "1x1 convolution after pooling": (lambda: Net(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1), nn.Flatten()), "linear"),
    "mlp": (lambda: Net(*pool(), nn.Linear(6, 5), nn.Hardswish(), nn.Linear(5, 4)), "pooled"),
    "layer norm and linear": (lambda: Net(*pool(), nn.LayerNorm(6), nn.Linear(6, 4)), "pooled"),
    "class map": (lambda: Net(*pool()), "class map"),
    "class map with relu": (lambda: Net(nn.Dropout(), nn.ReLU(inplace=True), *pool()), "class map"),
    "relu, then linear": (lambda: Net(nn.ReLU(), *pool(), nn.Linear(6, 4)), "general"),
    "flattened": (lambda: Net(nn.Flatten(), nn.Linear(6 * 5 * 5, 4)), "general"),
    "max pooling": (lambda: Net(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)), "general"),
    "pooled to 2 x 2": (lambda: Net(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)), "general"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_recognised_and_their_gradients_are_those_of_autograd(name: str) -> None:
    make, kind = HEADS[name]
    head = head_of(split(trace(make().eval()), "features")[1])
    assert head.kind == kind
    activations = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    for target in (class_target(2), lambda logits: torch.log_softmax(logits, 1)[:, 0] - logits[:, 3]):
        expected = autograd_gradients(head.module, activations, target)
        torch.testing.assert_close(head.gradients(activations, target), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, (_, kind) in HEADS.items() if kind in ("linear", "class map")])
def test_maps_account_for_the_logits(name: str) -> None:
    head = head_of(split(trace(HEADS[name][0]().eval()), "features")[1])
    activations = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    logits = head.logits(activations)
    torch.testing.assert_close(head.accounted(activations), logits)
    for index in range(logits.shape[1]):
        cam = apply(METHODS["cam"], Evidence(activations, head, class_target(index)))
        torch.testing.assert_close(head.class_maps(activations)[:, index], cam)


@pytest.mark.parametrize("name", [name for name, (_, kind) in HEADS.items() if kind in ("pooled", "general")])
def test_other_heads_have_no_class_map_and_say_what_to_try(name: str) -> None:
    head = head_of(split(trace(HEADS[name][0]().eval()), "features")[1])
    assert head.accounted(torch.zeros(1, 6, 5, 5)) is None
    with pytest.raises(OptionError, match=f"the head of this layer is {head.kind}. Try 'gradcam'"):
        head.class_maps(torch.zeros(1, 6, 5, 5))


def test_kinds_are_the_words_that_people_read() -> None:
    assert [str(kind) for kind in HeadKind] == ["linear", "class map", "cosine", "pooled", "general"]
    assert json.dumps({"head": HeadKind.CLASS_MAP}) == '{"head": "class map"}'
    for make, kind in HEADS.values():
        head = head_of(split(trace(make().eval()), "features")[1])
        assert head.kind is HeadKind(kind)
        assert head.kind.has_class_maps is (head.accounted(torch.zeros(1, 6, 5, 5)) is not None)


@pytest.mark.parametrize("name", HEADS)
def test_summands_add_up_to_the_logits_outside_torch(name: str) -> None:
    head = head_of(split(trace(HEADS[name][0]().eval()), "features")[1])
    activations = torch.randn(1, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    summands = head.summands(activations)
    assert (summands is not None) is head.kind.has_class_maps
    if summands is not None:
        means = summands.values.mean((1, 2))
        weighted = means if summands.weight is None else summands.weight @ means
        assert {summands.values.dtype, weighted.dtype, summands.bias.dtype} == {np.dtype(np.float32)}
        np.testing.assert_allclose(weighted + summands.bias, head.logits(activations)[0], rtol=1e-5, atol=1e-6)


def test_a_rectified_class_map_on_paper() -> None:
    """One class, map [[2, -2], [4, 0]]: the logit is (2 + 0 + 4 + 0) / 4 = 1.5, CAM stays signed."""
    module = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head, activations = ClassMapHead(module, rectified=True), torch.tensor([[[[2.0, -2.0], [4.0, 0.0]]]])
    evidence = Evidence(activations, head, class_target(0))
    assert head.logits(activations).item() == 1.5
    assert apply(METHODS["cam"], evidence).tolist() == [[[2, -2], [4, 0]]]
    assert apply(METHODS["hirescam"], evidence).tolist() == [[[0.5, 0], [1, 0]]]
    assert apply(METHODS["gradcam"], evidence).tolist() == [[[0.25, -0.25], [0.5, 0]]]  # mean gradient 2/4 of 1/4
