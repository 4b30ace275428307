"""Every image-classification architecture of transformers, made small: few and narrow layers, random weights."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

CLASSES = 7

# Options of a small vision transformer; the names differ slightly between families.
_VIT = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96}
_PATCHES = {"image_size": 96, "patch_size": 16}
_PYRAMID = {"depths": (1, 1, 1, 1), "hidden_sizes": (16, 32, 48, 64), "num_attention_heads": (1, 2, 3, 4)}
_CONV = {"depths": (1, 1, 1, 1), "hidden_sizes": (16, 32, 48, 64)}
_SWIN = {"image_size": 128, "embed_dim": 16, "depths": (2, 2, 2), "num_heads": (2, 2, 4), "window_size": 4}
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
_TEXT |= {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}
_GEMMA = {**_TEXT, "num_key_value_heads": 1, "head_dim": 8}

# The options that make each configuration small. An image size in it is the size of the network's input.
SMALL: dict[str, dict[str, Any]] = {
    "BeitConfig": {**_VIT, **_PATCHES, "use_relative_position_bias": True, "layer_scale_init_value": 0.1},
    "BitConfig": {"embedding_size": 16, "hidden_sizes": (32, 64, 96, 128), "depths": (1, 1, 1, 1), "num_groups": 8},
    "CLIPConfig": {"vision_config": {**_VIT, **_PATCHES}, "text_config": _TEXT, "projection_dim": 16},
    "ConvNextConfig": _CONV,
    "ConvNextV2Config": _CONV,
    "CvtConfig": {"embed_dim": (16, 32, 48), "num_heads": (1, 2, 3), "depth": (1, 2, 3)},
    "Data2VecVisionConfig": {**_VIT, **_PATCHES, "use_relative_position_bias": True},
    "DeiTConfig": {**_VIT, **_PATCHES},
    "DinatConfig": {"embed_dim": 16, "depths": (1, 1, 1), "num_heads": (2, 2, 4), "kernel_size": 3},
    "Dinov2Config": {**_VIT, "image_size": 98, "patch_size": 14},
    "Dinov2WithRegistersConfig": {**_VIT, **_PATCHES},
    "DonutSwinConfig": _SWIN,
    "EfficientNetConfig": {
        "image_size": 128, "width_coefficient": 0.5, "depth_coefficient": 0.4, "hidden_dim": 1280 // 2,
    },
    "FocalNetConfig": {"image_size": 128, "embed_dim": 16, "depths": (1, 1, 2), "hidden_sizes": (32, 48, 64),
                       "focal_levels": (2, 2, 2), "focal_windows": (3, 3, 3)},
    "HGNetV2Config": {
        "embedding_size": 16, "depths": (1, 1, 1, 1), "hidden_sizes": (32, 48, 64, 96), "stem_channels": (3, 16, 16),
        "stage_in_channels": (16, 32, 48, 64), "stage_mid_channels": (16, 16, 24, 32), "stage_num_blocks": (1, 1, 1, 1),
        "stage_out_channels": (32, 48, 64, 96), "stage_numb_of_layers": (2, 2, 2, 2),
    },
    "HieraConfig": {"image_size": (128, 128), "embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2),
                    "masked_unit_size": (8, 8)},
    "IJepaConfig": {**_VIT, **_PATCHES},
    "ImageGPTConfig": {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 17, "n_positions": 64},
    "LevitConfig": {"hidden_sizes": (32, 48, 64), "num_attention_heads": (2, 3, 4), "depths": (1, 1, 2),
                    "key_dim": (8, 8, 8)},
    "MetaClip2Config": {"vision_config": {**_VIT, **_PATCHES}, "text_config": _TEXT, "projection_dim": 16},
    "MobileNetV1Config": {"image_size": 128, "depth_multiplier": 0.25},
    "MobileNetV2Config": {"image_size": 224, "depth_multiplier": 0.35},
    "MobileViTConfig": {"image_size": 128, "hidden_sizes": (32, 48, 64),
                        "neck_hidden_sizes": (8, 8, 16, 24, 32, 48, 96)},
    "MobileViTV2Config": {"image_size": 128, "base_attn_unit_dims": (32, 48, 64), "n_attn_blocks": (1, 1, 1),
                          "width_multiplier": 0.5},
    "PerceiverConfig": {"num_latents": 10, "d_latents": 32, "d_model": 32, "num_self_attends_per_block": 2,
                        "num_self_attention_heads": 2, "num_cross_attention_heads": 1},
    "PoolFormerConfig": {"depths": (1, 1, 2, 1), "hidden_sizes": (16, 32, 48, 64)},
    "PPLCNetConfig": {"scale": 0.25, "class_expand": 64},
    "PvtConfig": {**_PYRAMID, "image_size": 128},
    "PvtV2Config": {**_PYRAMID, "image_size": 128},
    "RegNetConfig": {"embedding_size": 16, "hidden_sizes": (16, 32, 48, 64), "depths": (1, 1, 2, 1), "groups_width": 8},
    "ResNetConfig": {"embedding_size": 16, "hidden_sizes": (32, 48, 64, 96), "depths": (1, 1, 1, 1)},
    "SegformerConfig": _PYRAMID,
    "ShieldGemma2Config": {"mm_tokens_per_image": 4, "vision_config": {**_VIT, "image_size": 64, "patch_size": 16},
                           "text_config": {**_GEMMA, "model_type": "gemma3_text"}, "image_token_index": 60,
                           "boi_token_index": 61, "eoi_token_index": 62},
    "SiglipConfig": {"vision_config": {**_VIT, **_PATCHES}, "text_config": _TEXT},
    "Siglip2Config": {"vision_config": {**_VIT, "patch_size": 16, "num_patches": 36}, "text_config": _TEXT},
    "SwiftFormerConfig": {"depths": (1, 1, 2, 1), "embed_dims": (16, 24, 32, 48)},
    "SwinConfig": _SWIN,
    "Swinv2Config": _SWIN,
    "TextNetConfig": {"image_size": (128, 128), "hidden_sizes": (16, 16, 24, 32, 48), "stem_out_channels": 16,
                      "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3], [3, 1]], [[3, 3], [1, 3]], [[3, 3]]],
                      "conv_layer_strides": [[2], [2, 1], [2, 1], [2]]},
    "TimmWrapperConfig": {"architecture": "resnet10t"},
    "ViTConfig": {**_VIT, **_PATCHES},
    "ViTMSNConfig": {**_VIT, **_PATCHES},
}  # fmt: skip

# Input sides for configurations without an image size.
_SIDES = {"CvtConfig": 128, "PerceiverConfig": 224, "Siglip2Config": 96, "ShieldGemma2Config": 64, "ImageGPTConfig": 8}
_SIDE = 128
_OTHER_SIDES = {
    "PerceiverForImageClassificationLearned": 56,
    "LevitForImageClassification": 224,
    "LevitForImageClassificationWithTeacher": 224,
}


def classes() -> dict[str, tuple[type, type]]:
    """Return {class's name: (its configuration, the class)} for the whole mapping, also for configurations with several
    classes."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as mapping

    found: dict[str, tuple[type, type]] = {}
    for config, models in mapping.items():
        for model in models if isinstance(models, tuple) else (models,):
            found[model.__name__] = (config, model)
    return found


def maker(name: str) -> Callable[[], nn.Module]:
    """Return a function that makes the network of that name, in evaluation mode."""

    def make() -> nn.Module:
        config, model = classes()[name]
        network = model(configured(config, name))
        return network.eval()

    return make


def configured(config: type, name: str) -> Any:
    """Return a small configuration. An architecture that is newer than this file gets its library's defaults."""
    options: Mapping[str, Any] = SMALL.get(config.__name__, {})
    if name == "PerceiverForImageClassificationLearned":
        options = {**options, "image_size": _OTHER_SIDES[name]}
    made = config(**options)
    made.num_labels = CLASSES
    return made


def side_of(name: str) -> int:
    """Return the side of the square input of the network of that name, in pixels."""
    if name in _OTHER_SIDES:
        return _OTHER_SIDES[name]
    config = classes()[name][0].__name__
    options = SMALL.get(config, {})
    stated = options.get("image_size") or options.get("vision_config", {}).get("image_size")
    first = stated[0] if isinstance(stated, tuple) else stated
    return first or _SIDES.get(config, _SIDE)
