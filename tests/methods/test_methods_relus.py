"""Guided backpropagation and FullGrad find every ReLU and every bias, wherever they stand, or say what they cannot see.

The oracle of the first is autograd through a copy of the network whose ReLUs are functions with the guided rule.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_methods_pixels import evidence_of_pixels
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from camserve.errors import OptionError
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.watching.biases import Biased

CLASS = 0


class Rule(torch.autograd.Function):
    """min(max(x, 0), top), through which only positive gradients pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, top: float) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < top))
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(min=0) * ctx.saved_tensors[0], None


class ByRule(nn.Module):
    def __init__(self, top: float) -> None:
        super().__init__()
        self.top = top

    def forward(self, x: Tensor) -> Tensor:
        return Rule.apply(x, self.top)


def by_oracle(network: nn.Module, given: Tensor) -> Tensor:
    """Guided backpropagation of `network`, whose ReLUs are all modules."""
    copied, replaced = copy.deepcopy(network), 0
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(parent, name, ByRule(6.0 if isinstance(child, nn.ReLU6) else torch.inf))
                replaced += 1
    assert replaced
    leaf = given.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(copied(leaf)[:, CLASS].sum(), leaf)
    return gradients.sum(1)


def pictures(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))


def bent(bend: Callable[[Tensor], Tensor], *, seed: int = 0) -> nn.Module:
    """Two convolutions, each followed by `bend`, the mean over places, two classes."""

    class Bent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.first, self.second, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 2)

        def forward(self, given: Tensor) -> Tensor:
            hidden = bend(4 * self.first(given))
            return self.last(bend(4 * self.second(hidden)).mean((2, 3)))

    return Bent().eval().requires_grad_(False)


def compiled(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit.script is on its way out, but still met
        made: nn.Module = torch.jit.script(module)
        return made


FORMS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "functional": (torch.inf, F.relu),
    "functional, in place": (torch.inf, lambda x: F.relu(x, inplace=True)),
    "torch": (torch.inf, torch.relu),
    "torch, in place": (torch.inf, torch.relu_),
    "method": (torch.inf, lambda x: x.relu()),
    "method, in place": (torch.inf, lambda x: x.relu_()),
    "clamp": (torch.inf, lambda x: x.clamp(min=0)),
    "clamp by a tensor": (torch.inf, lambda x: x.clamp(min=torch.zeros(()))),
    "clamp_min": (torch.inf, lambda x: torch.clamp_min(x, 0)),
    "threshold": (torch.inf, lambda x: F.threshold(x, 0, 0)),
    "maximum": (torch.inf, lambda x: torch.maximum(x, torch.zeros(()))),
    "compiled by torch.jit": (torch.inf, compiled(nn.ReLU())),
    "checkpointed": (torch.inf, lambda x: checkpoint(F.relu, x, use_reentrant=False)),
    "relu6": (6, F.relu6),
    "relu6 in place": (6, nn.ReLU6(inplace=True)),
    "clamp to 6": (6, lambda x: x.clamp(0, 6)),
}


@pytest.mark.oracle("guidedbackprop")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_relu_is_guided_once(form: str) -> None:
    top, bend = FORMS[form]
    given = pictures(9)
    leaf = given.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(bent(lambda x: Rule.apply(x, top))(leaf)[:, CLASS].sum(), leaf)
    found = apply(METHODS["guidedbackprop"], evidence_of_pixels(bent(bend), given))
    torch.testing.assert_close(found, gradients.sum(1))
    assert found.any()


@pytest.mark.parametrize("bend", [F.leaky_relu, F.gelu, F.selu, lambda x: x.clamp(min=-1), lambda x: x.clamp(max=0)])
def test_what_is_no_relu_is_not_guided(bend: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(OptionError, match="needs ReLUs, and this network has none"):
        apply(METHODS["guidedbackprop"], evidence_of_pixels(bent(bend), pictures(9)))


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def its_own(x: Tensor) -> Tensor:
    """With a branch, or torch.fx would look into it."""
    return OwnReLU.apply(x.relu()) if bool(x.isfinite().all()) else x


def in_a_slice(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :3].relu_()
    return x


def without_autograd(x: Tensor) -> Tensor:
    return x.detach().relu()


REFUSALS = {
    "one of the network's own": (its_own, "a ReLU of its own, OwnReLU, whose gradient"),
    "in a slice": (in_a_slice, "a ReLU that overwrites a part of a tensor"),
    "checkpointed": (
        lambda x: checkpoint(F.relu, x, use_reentrant=True),
        "has checkpoints .*, whose inside cannot be observed",
    ),
    "detached": (without_autograd, "answer cannot be differentiated: its forward uses no_grad, detach or numpy"),
}


@pytest.mark.parametrize("name", ["guidedbackprop", "guidedgradcam"])
@pytest.mark.parametrize("form", REFUSALS)
def test_what_cannot_be_guided_is_refused_in_words(form: str, name: str) -> None:
    bend, words = REFUSALS[form]
    with pytest.raises(OptionError, match=words):
        apply(METHODS[name], evidence_of_pixels(bent(bend), pictures(9)))


@pytest.mark.parametrize("form", ["checkpointed", "detached"])
def test_fullgrad_refuses_what_it_cannot_see(form: str) -> None:
    bend, words = REFUSALS[form]
    with pytest.raises(OptionError, match=words):
        apply(METHODS["fullgrad"], evidence_of_pixels(bent(bend), pictures(9)))


def test_fullgrad_refuses_what_torch_jit_compiled() -> None:
    net = nn.Sequential(compiled(nn.Conv2d(3, 2, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        OptionError, match="a layer whose inside cannot be observed, such as a part compiled by torch.jit"
    ):
        apply(METHODS["fullgrad"], evidence_of_pixels(net, pictures(9)))


# ---- networks of timm, with random weights


def network_of(name: str) -> nn.Module:
    timm = pytest.importorskip("timm", reason="no timm to take networks from")
    torch.manual_seed(1)
    net = timm.create_model(name, pretrained=False, num_classes=5).eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.weight.uniform_(0.8, 1.2)
            part.bias.uniform_(-0.3, 0.3)
    return net


@pytest.mark.oracle("guidedbackprop")
@pytest.mark.parametrize("name", ["mobilenetv2_100", "densenet121", "regnety_002", "legacy_xception"])
def test_relus_inside_other_modules_are_guided(name: str) -> None:
    """timm puts ReLUs into its batch norms (BatchNormAct2d), where a graph of modules does not show them."""
    net, given = network_of(name), pictures(64)
    expected = by_oracle(net, given)
    found = apply(METHODS["guidedbackprop"], evidence_of_pixels(net, given))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert found.any()


@pytest.mark.parametrize("name", ["densenet121", "regnety_002"])
def test_terms_of_fullgrad_add_up_where_batch_norms_hold_the_relu(name: str) -> None:
    """T = sum g_x x + sum g_b b, where all that bends is a ReLU; a gate of squeeze and excitation is held fixed."""
    net, given = network_of(name).double(), pictures(64)[:1].double().requires_grad_()
    for part in net.modules():
        if type(part).__name__ == "SEModule":
            part.forward = lambda x: x
    with Biased() as biased:
        score = net(given)[0, CLASS]
    found = torch.autograd.grad(score, [given, *(value for value, _ in biased.kept)])
    terms = [(found[0] * given).sum()]
    terms += [(by * bias[:, None, None]).sum() for by, (_, bias) in zip(found[1:], biased.kept, strict=True)]
    assert len(biased.kept) == sum(isinstance(part, nn.BatchNorm2d) for part in net.modules())
    torch.testing.assert_close(torch.stack(terms).sum() + net.get_classifier().bias[CLASS], score)
