"""Methods of activations and gradients: numbers to check on paper, a naive-loop oracle, closed form against autograd.

Methods that change layer or image are in test_methods_perturbed.py. Tests marked `exact` hold a method to numbers that
can be checked on paper, those marked `oracle` to its definition written out otherwise; test_registry.py walks them.
"""

import pytest
import torch
from torch import nn

from camserve.catalogue.targets import class_target
from camserve.errors import OptionError, UnknownName
from camserve.graph.heads import Head, LinearHead
from camserve.methods import METHODS, find_method
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence

ACTIVATIONS = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]]])


def pooled_linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)


def gap_evidence(*, closed_form: bool = True) -> Evidence:
    """logit_0 = 2 mean(A_1) - mean(A_2) + 0.5 = 2 * 2.5 - 0.5 + 0.5 = 5."""
    weight, bias = torch.tensor([[2.0, -1.0], [0.0, 4.0]]), torch.tensor([0.5, -1.0])
    module = pooled_linear(weight, bias)
    head = LinearHead(module, weight, bias) if closed_form else Head(module)
    return Evidence(ACTIVATIONS, head, class_target(0))


def flat_evidence() -> Evidence:
    """One channel [[1, 2], [3, 4]] under a linear layer with a weight per place: logit = 1 + 4 - 3 + 0 = 2."""
    layer = nn.Linear(4, 1, bias=False)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0, -1.0, 0.0]])})
    return Evidence(ACTIVATIONS[:, :1], Head(nn.Sequential(nn.Flatten(), layer)), class_target(0))


ON_GAP = {
    "cam": [[2.0, 3.0], [5.0, 8.0]],  # 2 A_1 - A_2
    "gradcam": [[0.5, 0.75], [1.25, 2.0]],  # the same, over 4 cells
    "hirescam": [[0.5, 0.75], [1.25, 2.0]],
    "xgradcam": [[0.5, 0.75], [1.25, 2.0]],
    "layercam": [[0.5, 1.0], [1.5, 2.0]],  # 2/4 A_1; the negative channel is left out
    "gradcam++": [[2 / 7, 4 / 7], [6 / 7, 8 / 7]],  # w_1 = 2 / (2 + 2 * 2.5), w_2 = 0
}
ON_FLAT = {
    "gradcam": [[0.5, 1.0], [1.5, 2.0]],  # mean(1, 2, -1, 0) = 0.5
    "hirescam": [[1.0, 4.0], [-3.0, 0.0]],
    "xgradcam": [[0.2, 0.4], [0.6, 0.8]],  # (1 + 4 - 3 + 0) / 10 = 0.2
    "layercam": [[1.0, 4.0], [0.0, 0.0]],
    "gradcam++": [[23 / 132, 46 / 132], [69 / 132, 92 / 132]],  # 1 / (2 + 10) + 2 / (2 + 20) = 23 / 132
}


@pytest.mark.exact
@pytest.mark.parametrize("name", ON_GAP)
def test_exact_numbers_under_gap_and_linear(name: str) -> None:
    torch.testing.assert_close(apply(METHODS[name], gap_evidence()), torch.tensor([ON_GAP[name]]))


@pytest.mark.parametrize("name", ON_FLAT)
def test_exact_numbers_under_a_flattened_linear_layer(name: str) -> None:
    torch.testing.assert_close(apply(METHODS[name], flat_evidence()), torch.tensor([ON_FLAT[name]]))


def test_cam_under_another_head_says_what_to_try() -> None:
    with pytest.raises(OptionError, match="global average pooling and one linear layer.*Try 'gradcam'"):
        apply(METHODS["cam"], flat_evidence())


def random_evidence(*, closed_form: bool, channels: int = 5, dead: int | None = None) -> Evidence:
    generator = torch.Generator().manual_seed(7)
    activations = torch.randn(2, channels, 3, 4, generator=generator).clamp(min=0)
    if dead is not None:
        activations[:, dead] = 0
    weight, bias = torch.randn(6, channels, generator=generator), torch.randn(6, generator=generator)
    module = pooled_linear(weight, bias)
    return Evidence(activations, LinearHead(module, weight, bias) if closed_form else Head(module), class_target(3))


@pytest.mark.parametrize("name", [name for name in ON_GAP if name != "cam"])
def test_closed_form_equals_autograd(name: str) -> None:
    closed = apply(METHODS[name], random_evidence(closed_form=True))
    torch.testing.assert_close(closed, apply(METHODS[name], random_evidence(closed_form=False)), rtol=1e-5, atol=1e-6)


def nonlinear_evidence() -> Evidence:
    """A head whose gradients differ from place to place and from image to image."""
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(nn.Conv2d(4, 6, 2), nn.Sigmoid(), nn.Flatten(), nn.Linear(6 * 2 * 3, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    activations = torch.randn(2, 4, 3, 4, generator=generator).clamp(min=0)
    return Evidence(activations, Head(module.requires_grad_(False)), class_target(1))


def naive(name: str, activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """The methods' definitions as plain loops over channels and places, one image."""
    channels, height, width = activations.shape
    a, g = activations.tolist(), gradients.tolist()
    places = [(y, x) for y in range(height) for x in range(width)]
    out = torch.zeros(height, width)
    for k in range(channels):
        total = sum(a[k][y][x] for y, x in places)
        if name == "gradcam":
            weight = sum(g[k][y][x] for y, x in places) / len(places)
        elif name == "xgradcam":
            weight = sum(g[k][y][x] * a[k][y][x] for y, x in places) / total if total else 0.0
        elif name == "gradcam++":
            weight = 0.0
            for y, x in places:
                gradient = g[k][y][x]
                if gradient > 0:
                    alpha = gradient**2 / (2 * gradient**2 + total * gradient**3)
                    weight += alpha * gradient
        for y, x in places:
            if name == "hirescam":
                weight = g[k][y][x]
            elif name == "layercam":
                weight = max(g[k][y][x], 0.0)
            out[y, x] += weight * a[k][y][x]
    return out


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name in ON_GAP if name != "cam"])
def test_equals_its_definition_in_loops(name: str) -> None:
    evidence = nonlinear_evidence()
    maps = apply(METHODS[name], evidence)
    for image in range(2):
        expected = naive(name, evidence.activations[image], evidence.gradients[image])
        torch.testing.assert_close(maps[image], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.oracle("cam")
def test_cam_equals_its_definition_in_loops() -> None:
    evidence = random_evidence(closed_form=True)
    assert isinstance(evidence.head, LinearHead)
    weight = evidence.head.weight[3].tolist()
    expected = sum(w * evidence.activations[:, k] for k, w in enumerate(weight))
    torch.testing.assert_close(apply(METHODS["cam"], evidence), expected)


@pytest.mark.parametrize("name", ON_GAP)
@pytest.mark.parametrize("closed_form", [True, False])
def test_a_dead_channel_is_no_nan(name: str, closed_form: bool) -> None:
    if name == "cam" and not closed_form:
        pytest.skip("cam is defined for linear heads only")
    assert apply(METHODS[name], random_evidence(closed_form=closed_form, dead=2)).isfinite().all()


@pytest.mark.parametrize("name", ON_GAP)
def test_methods_leave_their_evidence_as_it_was(name: str) -> None:
    evidence = gap_evidence()
    before = evidence.activations.clone()
    apply(METHODS[name], evidence)
    assert torch.equal(evidence.activations, before)
    assert not evidence.activations.requires_grad


@pytest.mark.parametrize("name", ON_GAP)
def test_each_image_of_a_batch_stands_alone(name: str) -> None:
    both = random_evidence(closed_form=True)
    alone = Evidence(both.activations[1:], both.head, both.target)
    torch.testing.assert_close(apply(METHODS[name], both)[1], apply(METHODS[name], alone)[0])


def test_a_target_may_be_any_function_of_the_logits() -> None:
    """For a - b under a linear head, CAM is the difference of the two CAMs; in closed form as by autograd."""
    closed, general = random_evidence(closed_form=True), random_evidence(closed_form=False)

    def difference(logits: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(logits, 1)[:, 3] - logits[:, 1]

    maps = [apply(METHODS["gradcam"], Evidence(e.activations, e.head, difference)) for e in (closed, general)]
    torch.testing.assert_close(*maps, rtol=1e-5, atol=1e-6)


def test_an_unknown_method_names_close_ones() -> None:
    with pytest.raises(UnknownName, match="unknown method 'grad_cam'; did you mean 'gradcam'"):
        find_method("grad_cam")
