"""Networks of the field: the layer found by itself, and the map there as autograd gives it on the uncut module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    assert_gradcam,
    assert_same,
    at_layer,
    class_maps_of,
    input_of,
    lively,
    load,
    pixels,
)
from torch import Tensor, nn

CLASSES = 5


def timm_net(name: str, side: int, **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    torch.manual_seed(0)
    return lively(timm.create_model(name, num_classes=CLASSES, **options), side)


SHALLOW = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 2}
OF_TIMM: dict[str, tuple[int, dict[str, Any], set[str]]] = {
    "vit_tiny_patch16_224": (64, {**SHALLOW, "dynamic_img_size": True}, {"blocks.1", "blocks.2.norm1"}),
    "vit_base_patch16_dinov3": (64, SHALLOW, {"norm"}),
    "levit_128s": (224, {}, {"stages", "stages.2", "stages.2.blocks", "stages.2.blocks.3"}),
    "tnt_s_legacy_patch16_224": (224, {}, {"blocks.11.norm_out"}),
    "convit_tiny": (224, {}, {"blocks.10", "blocks.11.norm1"}),
    "hiera_tiny_224": (224, {}, {"blocks", "blocks.11"}),
    "mvitv2_tiny": (224, {}, {"norm"}),
    "nest_tiny_jx": (224, {}, {"norm"}),
    "naflexvit_base_patch16_gap": (64, SHALLOW, {"norm"}),
    "twins_svt_small": (224, {}, {"norm"}),
    "cait_xxs24_224": (224, {}, {"blocks", "blocks.23", "blocks_token_only.1.norm1"}),
    "xcit_nano_12_p16_224": (224, {}, {"blocks.11", "cls_attn_blocks.0", "cls_attn_blocks.1.norm1"}),
    "pit_ti_224": (224, {}, {"transformers.2.blocks.2", "transformers.2.blocks.3.norm1"}),
}


@pytest.mark.parametrize("name", OF_TIMM)
def test_transformers_of_timm_are_looked_at_in_the_last_tokens_that_matter(name: str) -> None:
    side, options, right = OF_TIMM[name]
    net = timm_net(name, side, **options)
    model = load(net, side)
    assert model.default_layer in right
    assert_gradcam(model, net, pixels(side))


SWIN_OF_TIMM = {"img_size": 64, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}


@pytest.mark.parametrize(
    ("name", "options", "layer", "linear", "grid"),
    [
        ("swin_tiny_patch4_window7_224", SWIN_OF_TIMM, "norm", "head.fc", (8, 8)),
        ("vit_base_patch16_dinov3", SHALLOW, "norm", "head", (4, 4)),
    ],
)
def test_networks_of_timm_that_average_places_have_exact_class_maps(
    name: str, options: dict[str, Any], layer: str, linear: str, grid: tuple[int, int]
) -> None:
    net, photo = timm_net(name, 64, **options), pixels(64)
    model = load(net, 64)
    found = model.explain(photo, size=64)
    assert (found.layer, found.method) == (layer, "cam")
    activations, _ = at_layer(net, layer, input_of(photo), 0, grid=grid)
    assert_same(model.class_maps(photo, size=64), class_maps_of(net.get_parameter(f"{linear}.weight"), activations))


class Body(nn.Sequential):
    """A small ResNet without its pooling: (N, 3, H, W) -> (N, 16, H / 8, W / 8)."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after in ((3, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers)


class AttentionPooling(nn.Module):
    """As in learning from bags of instances: a scorer says how much each place counts."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.score, self.fc = Body(), nn.Conv2d(16, 1, 1), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        f = self.body(x)
        a = self.score(f).flatten(2).softmax(-1)
        return self.fc((a * f.flatten(2)).sum(-1))


class GatedPooling(AttentionPooling):
    """The same with a gate, as two products of one channel more."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 4, 1)
        self.score = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.body(x)
        a = self.score(self.gate(f).sigmoid() * self.value(f).tanh()).flatten(2).softmax(-1)
        return self.fc((a * f.flatten(2)).sum(-1))


class Untraced(AttentionPooling):
    """The same behind a branch on data."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


@pytest.mark.parametrize("kind", [AttentionPooling, GatedPooling, Untraced])
def test_attention_pooling_is_looked_at_where_the_features_are(kind: Callable[[], nn.Module]) -> None:
    net = lively(kind(), 64)
    model = load(net, 64)
    assert model.default_layer in {"body", "body.8"}
    assert_gradcam(model, net, pixels(64))


class SelfAttention(nn.Module):
    """Attention over the places of a map, (N, heads, T, T) on the way, and an average over tokens at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.qkv, self.norm = Body(), nn.Linear(16, 48), nn.LayerNorm(16)
        self.out, self.fc = nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        t = self.body(x).flatten(2).transpose(1, 2)
        n, count, _ = t.shape
        q, k, v = self.qkv(t).reshape(n, count, 3, 2, 8).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1)
        t = self.norm(t + self.out((attention @ v).transpose(1, 2).reshape(n, count, 16)))
        return self.fc(t.mean(1))


class UntracedSelfAttention(SelfAttention):
    """The same behind a branch on data."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


@pytest.mark.parametrize("kind", [SelfAttention, UntracedSelfAttention])
def test_attention_s_weights_are_no_maps(kind: Callable[[], nn.Module]) -> None:
    net, photo = lively(kind(), 64), pixels(64)
    model = load(net, 64)
    assert model.default_layer == "norm"
    assert model.layers()["norm"] == (16, 8, 8)
    assert_gradcam(model, net, photo)


def test_an_average_over_tokens_has_exact_class_maps() -> None:
    net, photo = lively(SelfAttention(), 64), pixels(64)
    model = load(net, 64)
    found = model.explain(photo, size=64)
    activations, _ = at_layer(net, "norm", input_of(photo), 0, grid=(8, 8))
    assert (found.layer, found.method) == ("norm", "cam")
    assert_same(model.class_maps(photo, size=64), class_maps_of(net.fc.weight, activations))


class ChannelsLast(nn.Module):
    """Maps with the channels at the end, as many as places across, and an average over places."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mix, self.fc = Body(), nn.Linear(16, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix(self.body(x).permute(0, 2, 3, 1)).mean((1, 2)))


class UntracedChannelsLast(ChannelsLast):
    """The same behind a branch on data."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


@pytest.mark.parametrize("kind", [ChannelsLast, UntracedChannelsLast])
def test_maps_with_channels_last_are_read_as_such(kind: Callable[[], Any]) -> None:
    net, photo = lively(kind(), 128), pixels(128)
    model = load(net, 128)
    found = model.explain(photo, size=128, layer="mix", method="gradcam", target=1)
    assert found.map.shape == (16, 16)
    activations, _ = at_layer(net, "body", input_of(photo), 0, grid=(16, 16))
    expected = np.einsum("ck,khw->chw", (net.fc.weight @ net.mix.weight).detach().numpy(), activations.numpy())
    shift = float(net.fc.weight[1].detach() @ net.mix.bias.detach())
    assert_same(found.map * 256, expected[1] + shift)
    assert model.default_layer in {"body", "body.8", "mix"}
    assert_gradcam(model, net, photo)


@pytest.mark.parametrize("name", ["levit_128s", "swin_tiny_patch4_window7_224", "mobilenetv4_hybrid_medium"])
def test_default_layers_of_timm_are_called_what_the_module_calls_them(name: str) -> None:
    net = timm_net(name, 224)
    assert load(net, 224).default_layer in dict(net.named_modules())
