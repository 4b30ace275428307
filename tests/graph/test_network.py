"""Any network: the right layer, traced or hooked, and maps equal to autograd on the uncut model."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from torch import nn

import camserve
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError, UnknownName
from camserve.graph.heads import autograd_gradients
from camserve.graph.hooked import HookedNetwork
from camserve.graph.network import Network
from camserve.graph.original.given import Given
from camserve.graph.traced import TracedNetwork

BOTH = pytest.mark.parametrize("kind", [TracedNetwork, HookedNetwork])


class Small(nn.Module):
    """A residual block with an in-place ReLU after the layer, a module used twice, and GAP + linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.twice = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.pool, self.fc, self.drop = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4), nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.relu(self.norm(self.twice(self.twice(x))))
        return self.fc(self.drop(self.pool(y + x).flatten(1)))


def frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def by_autograd(model: nn.Module, layer: str, images: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations and gradients at a module's last use, by a hook on the whole model."""
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_() if not output.requires_grad else output)
        return kept[-1].clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(model(images)[0, index], kept[-1])
    handle.remove()
    return kept[-1].detach(), gradient


@BOTH
@pytest.mark.parametrize("layer", ["stem", "twice", "norm", "relu"])
def test_halves_are_the_network_and_its_gradients(kind: Callable[[Given], Network], layer: str) -> None:
    model = frozen(Small())
    halves = kind(Given(model, 32)).cut(layer)
    images = torch.randn(1, 3, 37, 29, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        activations, carried = halves.body(images)
        torch.testing.assert_close(halves.head(activations, *carried), model(images))
    expected, gradient = by_autograd(model, layer, images, 2)
    torch.testing.assert_close(activations, expected)
    ours = autograd_gradients(halves.head, activations, class_target(2), carried)
    torch.testing.assert_close(ours, gradient)
    assert not any(part._forward_hooks for part in model.modules())


@BOTH
def test_changed_activations_reach_the_logits(kind: Callable[[Given], Network]) -> None:
    model = frozen(Small())
    halves = kind(Given(model, 32)).cut("relu")
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        activations, carried = halves.body(images)
        changed = halves.head(activations * 0, *carried)
        stem = model.fc(model.stem(images).mean((2, 3)))
    torch.testing.assert_close(changed, stem)


@BOTH
def test_the_default_layer_has_places_and_unknown_ones_are_named(kind: Callable[[Given], Network]) -> None:
    network = kind(Given(frozen(torchvision.models.resnet18(weights=None)), 64))
    assert network.default_layer() == "layer4"
    assert network.layers()["layer3"] == (256, 4, 4)
    assert network.takes_any_size
    with pytest.raises(UnknownName, match="unknown layer 'layer5'; did you mean 'layer4"):
        network.cut("layer5")


class Depends(Small):
    """Control flow that needs data: torch.fx cannot trace it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > -1e9 else super().forward(-x)


def test_a_network_that_cannot_be_traced_gives_the_maps_of_one_that_can() -> None:
    traced, hooked = camserve.load(Small(), size=32), camserve.load(Depends(), size=32)
    assert isinstance(hooked.network, HookedNetwork)
    for layer in ("stem", "relu"):
        one = traced.explain(picture(), method="gradcam", layer=layer)
        other = hooked.explain(picture(), method="gradcam", layer=layer)
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-6)
        assert one.placement.stride == other.placement.stride


def test_threads_that_share_a_hooked_network_get_their_own_maps() -> None:
    model = camserve.load(Depends(), size=32)
    images = [picture(seed) for seed in range(12)]
    serial = [model.explain(image, layer="twice").map for image in images]
    wrong: list[int] = []

    def work() -> None:
        for index, image in enumerate(images):
            if not np.array_equal(model.explain(image, layer="twice").map, serial[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not any(part._forward_hooks for part in model.module.modules())


def test_a_hook_is_gone_after_a_call_that_raises() -> None:
    model = camserve.load(Depends(), size=32)
    with pytest.raises(OptionError):
        model.explain(picture(), target=99)
    assert not any(part._forward_hooks for part in model.module.modules())


class Answers(Small):
    """Answers as the caller of the class says."""

    def __init__(self, wrap) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.wrap = wrap

    def forward(self, x: torch.Tensor):  # type: ignore[no-untyped-def]
        return self.wrap(super().forward(x), x)


class Holder:
    """An object with logits in it."""

    def __init__(self, features: torch.Tensor, logits: torch.Tensor) -> None:
        self.features, self.logits = features, logits


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y, x: (y, x),
        lambda y, x: [y],
        lambda y, x: {"features": x, "logits": y},
        lambda y, x: {"anything": y},
        lambda y, x: Holder(features=x, logits=y),
    ],
    ids=["tuple", "list", "dict", "dict of one", "object"],
)
def test_answers_may_be_tuples_dicts_or_objects(wrap) -> None:  # type: ignore[no-untyped-def]
    plain = camserve.load(Small(), size=32).explain(picture())
    wrapped = camserve.load(Answers(wrap), size=32).explain(picture(), method="gradcam")
    np.testing.assert_allclose(wrapped.logits, plain.logits, rtol=1e-4, atol=1e-6)
    if wrapped.layer == plain.layer:  # an object hides the graph, so there the layer is the last module
        np.testing.assert_allclose(wrapped.map * wrapped.map.size, plain.map, rtol=1e-3, atol=1e-5)
    else:  # the sum behind it has no name there, and that is said
        assert wrapped.layer == "stem"
        assert "several branches ('relu' is on one of them)" in " ".join(wrapped.warnings)


def test_one_logit_is_a_yes_or_no_and_several_may_all_be_yes() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    one = camserve.load(net, size=32, labels=["cat"]).explain(picture(), size="crop")
    assert one.score == pytest.approx(1 / (1 + np.exp(-one.logit)))
    assert (one.class_name, one.method) == ("cat", "cam")
    assert camserve.load(net, size=32).explain(picture(), target="-0").target.name == "against class 0"
    net[4] = nn.Linear(4, 3)
    several = camserve.load(net, size=32, scores="sigmoid").explain(picture(), size="crop")
    assert several.scores is not None
    np.testing.assert_allclose(several.scores, 1 / (1 + np.exp(-several.logits.astype(float))), rtol=1e-6)


def test_a_transformer_is_looked_at_in_the_last_tokens_that_matter() -> None:
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    ).eval()
    model = camserve.load(vit, size=32)
    assert model.default_layer == "encoder.layers.encoder_layer_2.ln_1"
    explanation = model.explain(picture(size=(32, 32)))
    assert explanation.map.shape == (4, 4)
    assert (explanation.placement.stride, explanation.placement.offset) == ((8, 8), (3.5, 3.5))
    assert model.layers()["encoder.layers.encoder_layer_0"] == (16, 4, 4)


def test_the_class_token_is_kept_apart_and_whole() -> None:
    """Grad-CAM at tokens equals the formula on the patch tokens of the uncut model."""
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(vit.heads.head.weight)
    frozen(vit)
    layer = "encoder.layers.encoder_layer_1.ln_1"
    images = torch.randn(1, 3, 32, 32)
    tokens, gradient = by_autograd(vit, layer, images, 3)
    halves = TracedNetwork(Given(vit, 32)).cut(layer)
    with torch.no_grad():
        activations, carried = halves.body(images)
    torch.testing.assert_close(activations, tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    ours = autograd_gradients(halves.head, activations, class_target(3), carried)
    torch.testing.assert_close(ours, gradient[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), rtol=1e-4, atol=1e-7)


def test_a_network_of_one_size_gets_the_whole_image_squeezed_and_says_so() -> None:
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    model = camserve.load(vit, size=32)
    explanation = model.explain(picture(size=(90, 60)))
    assert explanation.placement.frame.input == (32, 32)
    assert "takes squares only" in " ".join(explanation.warnings)
    with pytest.raises(OptionError, match="takes 32 x 32 pixels only; use fit"):
        model.explain(picture(), size=64)


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(6 * 7 * 7, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        return self.fc(x.view(x.size(0), -1))


def test_fully_connected_layers_take_any_size() -> None:
    net = Flattened().eval()
    model = camserve.load(net, size=32, crop=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    square = picture(size=(32, 32))
    values = torch.from_numpy(np.array(square, dtype=np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        np.testing.assert_allclose(model.explain(square, size="native").logits, net(values)[0].numpy(), rtol=1e-5)
    assert model.network.takes_any_size
    assert model.explain(picture(size=(90, 60))).map.shape == (7, 11)
    scores = model.explain(picture(size=(90, 60)), layer="fc.3", size=64)
    assert (scores.head, scores.method) == ("class map", "cam")
    assert scores.map.shape == (9, 17)


@pytest.mark.parametrize("layer", [None, "features"])
def test_scores_of_several_windows_are_said_to_be_that(layer: str | None) -> None:
    model = camserve.load(Flattened(), size=32, layer=layer)
    assert not any("windows" in text for text in model.explain(picture(), size="crop").warnings)
    assert any("mean over windows of that size" in text for text in model.explain(picture()).warnings)


def test_a_size_the_network_fails_on_is_one_clear_error() -> None:
    model = camserve.load(Flattened(), size=32)
    with pytest.raises(OptionError, match="has 4 x 4 cells, fewer than the 7 x 7"):
        model.explain(picture(size=(50, 50)), size=20)
    pooled = nn.Sequential(nn.Conv2d(3, 4, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(OptionError, match="fails on an input of 5 x 5 pixels: .*Try size=fit, crop or a larger"):
        camserve.load(pooled, size=32).explain(picture(size=(50, 50)), size=5)


def test_dilation_gives_a_finer_map_and_the_same_decision(model: camserve.Model) -> None:
    plain = model.explain(picture(3, (200, 150)))
    dense = model.explain(picture(3, (200, 150)), output_stride=8)
    assert dense.placement.stride == (8, 8)
    np.testing.assert_array_equal(dense.logits, plain.logits)
    height, width = plain.map.shape
    np.testing.assert_allclose(dense.map[::4, ::4][:height, :width], plain.map, rtol=1e-3, atol=1e-3)
    assert dense.placement.offset == plain.placement.offset
    assert dense.completeness is not None
    assert dense.completeness < 1e-3
    with pytest.raises(OptionError, match="output_stride 5 does not divide"):
        model.explain(picture(), output_stride=5)


def test_several_layers_are_fused_on_the_finest_grid(model: camserve.Model) -> None:
    image = picture(4, (224, 224))
    fused = model.explain(image, layer=["blocks.10", "head"], method="layercam")
    fine, coarse = (model.explain(image, layer=name, method="layercam") for name in ("blocks.10", "head"))
    assert fused.map.shape == fine.map.shape == (14, 14)
    assert fused.layer == "blocks.10,head"
    top = fine.map.argmax()
    assert fused.map.ravel()[top] == pytest.approx(np.tanh(2))
    from camserve.geometry.frame import resample

    placed = resample(np.tanh(2 * np.maximum(coarse.map, 0) / coarse.map.max()), coarse.placement, fine.placement)
    expected = np.maximum(placed, np.tanh(2 * np.maximum(fine.map, 0) / fine.map.max()))
    np.testing.assert_allclose(fused.map, expected, rtol=1e-5)
    assert np.array_equal(model.explain(image, layer="blocks.10, head", method="layercam").map, fused.map)


def test_a_receptive_box_is_what_the_gradient_can_reach() -> None:
    """conv 3x3 stride 2, then 3x3: 7 pixels, 2 apart; on a photograph twice the input's size, 14 pixels."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))  # fmt: skip
    explanation = camserve.load(net, size=32).explain(picture(size=(64, 64)), size=32)
    left, top, right, bottom = explanation.receptive_box(*explanation.placement.cell_centre(8, 8))
    assert (right - left, bottom - top) == (14, 14)
    assert left == pytest.approx(2 * (8 * 2 - 3))
    assert explanation.receptive_box(0, 0)[:2] == (0, 0)


def test_attention_upstream_has_seen_everything() -> None:
    net = torchvision.models.mobilenet_v3_small(weights=None)
    explanation = camserve.load(net, size=64).explain(picture(size=(90, 60)))
    assert explanation.receptive_box(45, 30) == (0, 0, 90, 60)


def test_attention_s_own_tensors_and_channels_last_maps_are_told_from_feature_maps() -> None:
    """As timm builds them: queries (1, heads, tokens, d), and maps that end as (1, h, w, K)."""

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patch, self.norm, self.head = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.patch(x).permute(0, 2, 3, 1)).mean((1, 2)))

    net = frozen(ChannelsLast())
    model = camserve.load(net, size=32)
    assert model.default_layer == "norm"
    assert model.layers()["norm"] == (6, 8, 8)
    images = torch.randn(1, 3, 32, 32)
    maps, gradient = by_autograd(net, "norm", images, 1)
    halves = TracedNetwork(Given(net, 32)).cut("norm")
    with torch.no_grad():
        activations, carried = halves.body(images)
    torch.testing.assert_close(activations, maps.permute(0, 3, 1, 2))
    ours = autograd_gradients(halves.head, activations, class_target(1), carried)
    torch.testing.assert_close(ours, gradient.permute(0, 3, 1, 2))
    kernel = nn.Sequential(nn.Conv2d(3, 4, (3, 5)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert camserve.load(kernel, size=32).layers()["0"] == (4, 30, 28)


def test_timm_s_transformers_are_looked_at_in_their_tokens() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    for name, layer in (
        ("vit_tiny_patch16_224", "blocks.11.norm1"),
        ("swin_tiny_patch4_window7_224", "norm"),
        ("mobilenetv3_small_050", "blocks"),
    ):
        model = camserve.load(timm.create_model(name, pretrained=False), size=224)
        assert model.default_layer == layer
        assert np.ptp(model.explain(picture(), target=3).map) > 0


def test_nobody_else_tells_kinds_of_network_apart() -> None:
    """What is traced has a graph, what is hooked has none; who needs more asks the network itself."""
    assert TracedNetwork(Given(frozen(Small()), 32)).graph is not None
    assert HookedNetwork(Given(frozen(Small()), 32)).graph is None
    package = Path(camserve.__file__).parent
    named = {p.name for p in package.rglob("*.py") if re.search("TracedNetwork|HookedNetwork", p.read_text())}
    assert named == {"network.py", "traced.py", "hooked.py"}
