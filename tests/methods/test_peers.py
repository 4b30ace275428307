"""The same maps from pytorch-grad-cam, torchcam and captum where they are right, and where they are not.

Each test is skipped where its library is not installed. The networks are small and in float64 where the library
takes that, so tolerances are those of the method, not of arithmetic.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import evidence_around
from test_methods_gradients import Curved
from test_methods_pixels import Rectified, transformer
from torch import Tensor, nn

import camserve
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.pixel_gradients import STEPS

# What the libraries and what they import warn about is theirs.
pytestmark = [pytest.mark.filterwarnings("ignore")]
CLASS = 1


class Plain(nn.Module):
    """What every peer can hook: each ReLU a module of its own, used once, not in place. Layer "last" is signed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(9)
        self.first, self.relu1 = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU()
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu2, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        self.hidden, self.tanh, self.fc = nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 6)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pool(self.relu2(self.last(self.relu1(self.first(images))))).flatten(1)
        return self.fc(self.tanh(self.hidden(pooled)))


def images() -> Tensor:
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def ours(network: nn.Module, name: str, layer: str | None = None, index: int = CLASS) -> Tensor:
    return apply(METHODS[name], evidence_around(camserve.load(network, size=32), images(), index, layer))[0]


def scaled(found: Tensor) -> np.ndarray:
    """As pytorch-grad-cam gives maps: positive part, then 0 to 1."""
    values = found.clamp(min=0)
    return ((values - values.min()) / (values.max() - values.min())).numpy()


# ---- pytorch-grad-cam


def by_grad_cam(name: str, target: Callable[[Tensor], Tensor] | None, layer: str = "last") -> np.ndarray:
    """Its map on the layer's own grid."""
    library = pytest.importorskip("pytorch_grad_cam")
    network = Plain().eval()
    made = getattr(library, name)(model=network, target_layers=[network.get_submodule(layer)])
    inner = getattr(made, "base_cam", made)
    inner.get_target_width_height = lambda _: (8, 8)
    return made(images(), [target] if target is not None else None)[0]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("gradcam", "GradCAM"), ("hirescam", "HiResCAM"), ("elementwise", "GradCAMElementWise"),
        ("layercam", "LayerCAM"), ("eigengradcam", "EigenGradCAM"),
    ],
)  # fmt: skip
def test_maps_are_pytorch_grad_cam_s(name: str, theirs: str) -> None:
    found = by_grad_cam(theirs, lambda logits: logits[CLASS])
    mine = ours(Plain(), name, "last")
    signs = [scaled(mine)] if name != "eigengradcam" else [scaled(mine), scaled(-mine)]  # its sign is the SVD's
    assert min(np.abs(found - one).max() for one in signs) < 1e-5


def test_shapleycam_is_pytorch_grad_cam_s_with_its_target() -> None:
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    found = by_grad_cam("ShapleyCAM", targets.ClassifierOutputReST(CLASS))
    np.testing.assert_allclose(scaled(ours(Plain(), "shapleycam", "last")), found, atol=1e-5)


def test_finercam_is_pytorch_grad_cam_s() -> None:
    with torch.no_grad():
        best = int(Plain().eval()(images()).argmax())
    found = by_grad_cam("FinerCAM", None)
    np.testing.assert_allclose(scaled(ours(Plain(), "finercam", "last", best)), found, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "theirs"), [("eigencam", "get_2d_projection"), ("kpcacam", "get_2d_projection_kernel")]
)
def test_principal_components_are_pytorch_grad_cam_s_but_for_the_sign(name: str, theirs: str) -> None:
    library = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    evidence = evidence_around(camserve.load(Plain(), size=32), images(), CLASS, "last")
    (found,) = getattr(library, theirs)(evidence.activations.numpy())
    mine = apply(METHODS[name], evidence)[0].numpy()
    np.testing.assert_allclose(np.abs(mine), np.abs(found), atol=1e-4 * np.abs(found).max())


def test_pytorch_grad_cam_s_fem_weights_activations_by_the_share_above() -> None:
    """The paper adds up binary maps, each weighted by its channel's mean; theirs is another map."""
    evidence = evidence_around(camserve.load(Plain(), size=32), images(), CLASS, "last")
    values = evidence.activations[0].double()
    limit = values.mean((1, 2)) + 2 * values.std((1, 2), correction=0)
    above = values > limit[:, None, None]
    theirs = (above.double().mean((1, 2))[:, None, None] * values).sum(0)
    np.testing.assert_allclose(by_grad_cam("FEM", None), scaled(theirs), atol=1e-5)
    paper = (values.mean((1, 2))[:, None, None] * above).sum(0)
    torch.testing.assert_close(apply(METHODS["fem"], evidence)[0].double(), paper)
    assert np.corrcoef(paper.flatten(), theirs.flatten())[0, 1] < 0.9


# ---- captum


def test_integrated_gradients_are_captum_s() -> None:
    captum = pytest.importorskip("captum.attr")
    network = Rectified().eval()
    found = captum.IntegratedGradients(network).attribute(images(), target=CLASS, n_steps=STEPS, method="gausslegendre")
    torch.testing.assert_close(ours(Rectified(), "integratedgradients"), found[0].sum(0), rtol=1e-4, atol=1e-6)


def test_guided_backpropagation_is_captum_s() -> None:
    captum = pytest.importorskip("captum.attr")
    found = captum.GuidedBackprop(Plain().eval()).attribute(images(), target=CLASS)
    torch.testing.assert_close(ours(Plain(), "guidedbackprop"), found[0].sum(0), rtol=1e-4, atol=1e-8)


def test_captum_s_guided_backpropagation_does_not_see_functions() -> None:
    """A ReLU called as a function stays unguided there; here autograd shows it."""
    captum = pytest.importorskip("captum.attr")
    found = captum.GuidedBackprop(Functional().eval()).attribute(images(), target=CLASS)
    plain = captum.GuidedBackprop(Plain().eval()).attribute(images(), target=CLASS)
    assert not torch.allclose(found, plain)
    torch.testing.assert_close(ours(Functional(), "guidedbackprop"), ours(Plain(), "guidedbackprop"))


class Functional(Plain):
    """The same network with its ReLUs called as functions."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pool(torch.relu(self.last(torch.relu(self.first(images))))).flatten(1)
        return self.fc(self.tanh(self.hidden(pooled)))


def test_gradcam_and_guided_gradcam_are_captum_s() -> None:
    """Guided Grad-CAM at a layer as large as the input, where nothing has to be laid over anything."""
    captum = pytest.importorskip("captum.attr")
    network = Plain().eval()
    layer = captum.LayerGradCam(network, network.last).attribute(images(), target=CLASS)
    torch.testing.assert_close(ours(Plain(), "gradcam", "last"), layer[0, 0], rtol=1e-4, atol=1e-7)
    same = Same().eval()
    guided = captum.GuidedGradCam(same, same.first).attribute(images(), target=CLASS)
    torch.testing.assert_close(ours(Same(), "guidedgradcam", "first"), guided[0].sum(0), rtol=1e-4, atol=1e-8)


class Same(Plain):
    """The first convolution keeps the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)


# ---- torchcam


@pytest.fixture
def torchcam() -> Iterator[object]:
    yield pytest.importorskip("torchcam.methods")


def by_torchcam(library: object, name: str, network: nn.Module, layer: object, **options: object) -> Tensor:
    """Its map, not scaled, but with its ReLU."""
    network = network.eval()
    layer = network.get_submodule(layer) if isinstance(layer, str) else layer
    with getattr(library, name)(network, layer, **options) as extract:
        scores = network(images())
        return extract(CLASS, scores, normalized=False)[0][0].detach()


def test_torchcam_s_gradcam_plus_plus_has_weights_cubed(torchcam: object) -> None:
    """A masked in-place division divides a copy: sum g^2 ReLU(g) in place of the paper's weights."""
    evidence = evidence_around(camserve.load(Plain(), size=32), images(), CLASS, "last")
    cubed = (evidence.gradients.clamp(min=0) ** 3).sum((2, 3))
    expected = (cubed[:, :, None, None] * evidence.activations).sum(1)[0].clamp(min=0)
    torch.testing.assert_close(by_torchcam(torchcam, "GradCAMpp", Plain(), "last"), expected, rtol=1e-3, atol=1e-12)
    mine = apply(METHODS["gradcam++"], evidence)[0].clamp(min=0)
    assert np.abs(scaled(mine) - scaled(expected)).max() > 0.05


def test_torchcam_s_smooth_gradcam_plus_plus_is_of_its_last_noisy_image(torchcam: object) -> None:
    """Only the moments are averaged: gradient and even activations are the last copy's, and g^3 A is summed as one."""
    network = Curved()
    torch.manual_seed(0)
    theirs = by_torchcam(torchcam, "SmoothGradCAMpp", network, "first", num_samples=2, std=0.3)
    torch.manual_seed(0)
    noisy = [images() + torch.distributions.Normal(0, 0.3).sample(images().shape) for _ in range(2)]
    model = camserve.load(Curved(), size=32)
    clean = evidence_around(model, images(), CLASS, "first").activations
    copies = [evidence_around(model, one, CLASS, "first") for one in noisy]
    second, third = (sum(copy.gradients**power for copy in copies) / 2 for power in (2, 3))
    alpha = second / (2 * second + (third * clean).sum((2, 3), keepdim=True) + 1e-8)
    weights = (alpha * copies[-1].gradients.clamp(min=0)).sum((2, 3), keepdim=True)
    of_last = (weights * copies[-1].activations).sum(1)[0].clamp(min=0)
    torch.testing.assert_close(theirs, of_last, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(theirs, (weights * clean).sum(1)[0].clamp(min=0), rtol=0.1)


def test_legrad_is_torchcam_s_where_it_reads_the_class_token(torchcam: object) -> None:
    """Left to itself it averages all tokens, which a network with a class token was never trained to read."""
    network = transformer()
    blocks = list(network.encoder.layers)

    def read(tokens: Tensor) -> Tensor:
        return network.heads(network.encoder.ln(tokens)[:, 0])

    mine = ours(transformer(), "legrad")
    found = by_torchcam(torchcam, "LeGrad", network, blocks, score_projection=read)
    torch.testing.assert_close(mine, found, rtol=1e-4, atol=1e-7)
    averaged = by_torchcam(torchcam, "LeGrad", network, blocks)
    assert np.corrcoef(mine.flatten(), averaged.flatten())[0, 1] < 0.95


def test_finercam_is_torchcam_s_where_the_others_are_alike(torchcam: object) -> None:
    """It takes their plain mean, here they are weighted by probability: the same for classes of equal logits."""
    network = Plain()
    with torch.no_grad():
        network.fc.weight[2:] = network.fc.weight[2]
        network.fc.bias[2:] = network.fc.bias[2]
        network.fc.bias[0] = 50.0  # far away
    found = by_torchcam(torchcam, "FinerCAM", network, "last", gamma=1.0)
    torch.testing.assert_close(ours(network, "finercam", "last").clamp(min=0), found, rtol=1e-4, atol=1e-7)
