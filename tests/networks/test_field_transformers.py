"""Classifiers of transformers, tiny and untrained: the right layer, its map by autograd, exact class maps."""

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
    "ViTMSN": (TINY, {f"vit.{name}" for name in READ_ONE}),
    "IJepa": (TINY, {"ijepa.layernorm"}),
    "Data2VecVision": (
        {**TINY, "use_relative_position_bias": True},
        {"data2vec_vision.layernorm", "data2vec_vision.encoder.layer.1", "data2vec_vision.encoder.layer.1.output"},
    ),
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


STAGES = {"image_size": 64, "hidden_sizes": [16, 32], "depths": [1, 1], "num_attention_heads": [1, 2]}
PVT = {**STAGES, "num_encoder_blocks": 2, "strides": [4, 2], "mlp_ratios": [2, 2]}
FOCAL = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "hidden_sizes": [16, 32]}
IN_STAGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "Swinv2": (SWIN, {"swinv2.layernorm"}),
    "FocalNet": ({**FOCAL, "focal_levels": [2, 2], "focal_windows": [3, 3]}, {"focalnet.layernorm"}),
    "Pvt": (
        {**PVT, "sequence_reduction_ratios": [2, 1], "patch_sizes": [4, 2]},
        {"pvt.encoder.block.1.0.layer_norm_1"},
    ),
    "PvtV2": (
        {**PVT, "sr_ratios": [2, 1], "patch_sizes": [7, 3]},
        {"pvt_v2.encoder.layers.1.layer_norm", "pvt_v2.encoder.layers.1"},
    ),
}


@pytest.mark.parametrize("name", IN_STAGES)
def test_transformers_in_stages_are_looked_at_in_the_last_one(name: str) -> None:
    options, right = IN_STAGES[name]
    net = lively(classifier(name, **options), 64)
    model = load(net, 64)
    assert model.default_layer in right
    assert model.layers()[model.default_layer] == (32, 8, 8)
    assert_gradcam(model, net, pixels(64), pick=of_logits)


STAGE = "resnet.encoder.stages.1"


@pytest.mark.parametrize(
    ("name", "options", "right", "linear"),
    [
        ("Swin", SWIN, {"swin.layernorm"}, "classifier"),
        ("ResNet", RESNET, {STAGE}, "classifier.1"),
        (
            "RegNet",
            {**RESNET, "groups_width": 8, "layer_type": "x"},
            {STAGE.replace("resnet", "regnet")},
            "classifier.1",
        ),
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
    expected = class_maps_of(net.get_parameter(f"{linear}.weight"), activations)
    assert_same(found.logits, answer_of(net, images, of_logits))
    assert any(model.default_layer == one or model.default_layer.startswith(f"{one}.layers") for one in right)
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


@pytest.mark.parametrize("name", ["Swin", "ResNet", "ConvNext"])
def test_layers_are_called_what_the_module_calls_them(name: str) -> None:
    options = {"Swin": SWIN, "ResNet": RESNET, "ConvNext": CONVNEXT}[name]
    net = lively(classifier(name, **options), 64)
    modules = dict(net.named_modules())
    assert load(net, 64).default_layer in modules
