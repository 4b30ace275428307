"""Networks of the field: the layer found by itself, and the map there as autograd gives it on the uncut module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    answer_of,
    assert_gradcam,
    assert_same,
    at_layer,
    class_maps_of,
    gradcam_of,
    input_of,
    lively,
    load,
    pixels,
)
from torch import Tensor, nn

SIDE, CLASSES = 32, 5
BLOCKS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES = {"image_size": SIDE, "patch_size": 8}
TINY = {**BLOCKS, **SIZES, "intermediate_size": 64}
TEXT = {**BLOCKS, "intermediate_size": 64, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2}


def classifier(name: str, **options: Any) -> nn.Module:
    """A tiny classifier of transformers, NAMEForImageClassification, from NAMEConfig with options."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    kind = name.removesuffix("WithTeacher")
    config = getattr(transformers, f"{kind}Config")(num_labels=CLASSES, **options)
    torch.manual_seed(0)
    made: nn.Module = getattr(transformers, name.replace(kind, f"{kind}ForImageClassification"))(config)
    return made


def of_logits(answer: Any) -> Tensor:
    logits: Tensor = answer.logits
    return logits


# What is right: behind the last attention only the class token counts for a network that reads it alone, so there the
# last tokens that matter are those that the last block takes in, before or after its first norm.
READ_ONE = ("layers.0", "layers.1.layernorm_before")
TRANSFORMERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "ViT": (TINY, {f"vit.{name}" for name in READ_ONE}),
    "DeiT": (TINY, {f"deit.{name}" for name in READ_ONE}),
    "DeiTWithTeacher": (TINY, {f"deit.{name}" for name in READ_ONE}),
    "Beit": ({**TINY, "use_relative_position_bias": True}, {"beit.layers.1", "beit.layernorm"}),
    "Dinov2": ({**BLOCKS, **SIZES}, {"dinov2.layernorm"}),
    "Dinov2WithRegisters": ({**BLOCKS, **SIZES}, {"dinov2_with_registers.layernorm"}),
    "CLIP": ({"vision_config": TINY, "text_config": TEXT}, {"vision_model.encoder.layers.1"}),
    "Siglip": ({"vision_config": TINY, "text_config": TEXT}, {"vision_model.post_layernorm"}),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_are_looked_at_in_the_last_tokens_that_matter(name: str) -> None:
    options, right = TRANSFORMERS[name]
    net = lively(classifier(name, **options), SIDE)
    model = load(net, SIDE)
    assert model.default_layer in right
    assert model.layers()[model.default_layer] == (32, 4, 4)
    assert_gradcam(model, net, pixels(SIDE), pick=of_logits)


@pytest.mark.parametrize("name", ["ViT", "Siglip"])
def test_tokens_of_transformers_can_be_named(name: str) -> None:
    net = lively(classifier(name, **TRANSFORMERS[name][0]), SIDE)
    layer = "vit.layers.0.layernorm_after" if name == "ViT" else "vision_model.encoder.layers.0.layer_norm2"
    photo = pixels(SIDE)
    found = load(net, SIDE).explain(photo, size=SIDE, layer=layer, method="gradcam", target=3)
    assert_same(found.map, gradcam_of(net, layer, input_of(photo), 3, grid=(4, 4), pick=of_logits))


SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
CONVNEXT = {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2}


STAGE = "resnet.encoder.stages.1"


@pytest.mark.parametrize(
    ("name", "options", "right", "linear"),
    [
        ("Swin", SWIN, {"swin.layernorm"}, "classifier"),
        ("ResNet", RESNET, {STAGE, f"{STAGE}.layers.0", f"{STAGE}.layers.0.activation"}, "classifier.1"),
        ("CLIP", TRANSFORMERS["CLIP"][0], TRANSFORMERS["CLIP"][1], "classifier"),
        ("Siglip", TRANSFORMERS["Siglip"][0], TRANSFORMERS["Siglip"][1], "classifier"),
    ],
)
def test_transformers_that_average_places_have_exact_class_maps(
    name: str, options: dict[str, Any], right: set[str], linear: str
) -> None:
    side, cells = (32, 4) if "vision_config" in options else (64, 8)
    net, photo = lively(classifier(name, **options), side), pixels(side)
    model = load(net, side)
    found = model.explain(photo, size=side, target=2)
    images = input_of(photo)
    activations, _ = at_layer(net, min(right), images, 2, grid=(cells, cells), pick=of_logits)
    expected = class_maps_of(net.get_submodule(linear).weight, activations)
    assert_same(found.logits, answer_of(net, images, of_logits))
    assert model.default_layer in right
    assert found.method == "cam"
    assert found.completeness is not None
    assert found.completeness < 1e-4 * max(1, np.abs(found.logits).max())
    assert_same(found.map, expected[2])
    assert_same(model.class_maps(photo, size=side), expected)


def test_convnext_of_transformers_averages_before_its_norm_and_has_gradcam() -> None:
    net = lively(classifier("ConvNext", **CONVNEXT), 64)
    model = load(net, 64)
    assert model.default_layer in {"convnext.encoder.stages.1", "convnext.encoder.stages.1.layers.0"}
    assert model.explain(pixels(64), size=64).method == "gradcam"
    assert_gradcam(model, net, pixels(64), pick=of_logits)


def timm_net(name: str, side: int, **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    torch.manual_seed(0)
    return lively(timm.create_model(name, num_classes=CLASSES, **options), side)


SHALLOW = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 2}
OF_TIMM: dict[str, tuple[int, dict[str, Any], set[str]]] = {
    "vit_tiny_patch16_224": (64, {**SHALLOW, "dynamic_img_size": True}, {"blocks.1", "blocks.2.norm1"}),
    "vit_base_patch16_dinov3": (64, SHALLOW, {"norm"}),
    "levit_128s": (224, {}, {"stages", "stages.2", "stages.2.blocks", "stages.2.blocks.3"}),
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
    assert_same(model.class_maps(photo, size=64), class_maps_of(net.get_submodule(linear).weight, activations))


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


@pytest.mark.parametrize("name", ["Swin", "ResNet", "ConvNext"])
def test_layers_are_called_what_the_module_calls_them(name: str) -> None:
    options = {"Swin": SWIN, "ResNet": RESNET, "ConvNext": CONVNEXT}[name]
    net = lively(classifier(name, **options), 64)
    modules = dict(net.named_modules())
    assert load(net, 64).default_layer in modules


@pytest.mark.parametrize("name", ["levit_128s", "swin_tiny_patch4_window7_224", "mobilenetv4_hybrid_medium"])
def test_default_layers_of_timm_are_called_what_the_module_calls_them(name: str) -> None:
    net = timm_net(name, 224)
    assert load(net, 224).default_layer in dict(net.named_modules())
