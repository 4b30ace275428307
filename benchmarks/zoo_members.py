"""The networks of the zoo: every image classifier of transformers, torchvision's 80, and at least one per timm module.

python benchmarks/zoo_members.py        # the smallest member of every module of timm, for SMALLEST below
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from zoo_transformers import CLASSES, side_of
from zoo_transformers import classes as of_transformers
from zoo_transformers import maker as transformers_maker

LIBRARIES = "transformers", "torchvision", "timm"


@dataclass(frozen=True)
class Member:
    """A network to try. make: makes a new copy in evaluation mode. side: of its square input, pixels.

    note: how it differs from its library's network of that name.
    """

    library: str
    name: str
    make: Callable[[], nn.Module] = field(compare=False)
    side: int
    note: str = ""


# The members with the fewest parameters, in timm 1.0.31. Newer modules are searched when the zoo runs.
SMALLEST = {
    "beit": "beit_base_patch16_224", "byoanet": "halonet_h1", "byobnet": "test_byobnet", "cait": "cait_xxs24_224",
    "coat": "coat_tiny", "convit": "convit_tiny", "convmixer": "convmixer_768_32", "convnext": "test_convnext",
    "cpubone": "cpubone_nano", "crossvit": "crossvit_tiny_240", "csatv2": "csatv2", "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny", "davit": "davit_tiny", "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224", "densenet": "densenet121", "dla": "dla46x_c", "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small", "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0", "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1", "efficientvit_mit": "efficientvit_b0", "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb", "fasternet": "fasternet_t0", "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf", "gcvit": "gcvit_xxtiny", "gemma4_vit": "gemma4_vit_167m_enc",
    "ghostnet": "ghostnet_050", "hardcorenas": "hardcorenas_b", "hgnet": "hgnetv2_b0", "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny", "hrnet": "hrnet_w18_small", "iformer": "iformer_t",
    "inception_next": "inception_next_atto", "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3", "inception_v4": "inception_v4", "lcnetv2": "lcnetv2_small", "levit": "levit_128s",
    "lowformer": "lowformer_b0", "mambaout": "test_mambaout", "maxxvit": "test_coatnet",
    "metaformer": "poolformerv2_s12", "mlp_mixer": "gmlp_ti16_224", "mobilenetv3": "lcnet_035",
    "mobilenetv5": "mobilenetv5_base", "mobilevit": "mobilevit_xxs", "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_parfac_gap", "nasnet": "nasnetalarge", "nest": "nest_tiny",
    "nextvit": "nextvit_small", "nfnet": "test_nfnet", "pit": "pit_ti_224", "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0", "qwen3_vit": "qwen3_vit_88m", "rdnet": "rdnet_tiny", "regnet": "regnetx_002",
    "repghost": "repghostnet_050", "repvit": "repvit_m1", "res2net": "res2next50", "resnest": "resnest14d",
    "resnet": "test_resnet", "resnetv2": "resnetv2_18", "rexnet": "rexnet_100", "selecsls": "selecsls42",
    "senet": "legacy_seresnet18", "sequencer": "sequencer2d_s", "shvit": "shvit_s1", "sknet": "skresnet18",
    "starnet": "starnet_s050", "swiftformer": "swiftformer_xs", "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256", "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224", "tnt": "tnt_s_legacy_patch16_224", "tresnet": "tresnet_m",
    "twins": "twins_svt_small", "vgg": "vgg11", "visformer": "visformer_tiny", "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224", "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224", "vitamin": "vitamin_small_224", "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw", "xception": "legacy_xception", "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}  # fmt: skip

# Further members, of kinds that the smallest members do not cover.
MORE = (
    "caformer_s18", "coat_lite_tiny", "convformer_s18", "convnext_atto", "deit_tiny_distilled_patch16_224", "dla34",
    "densenetblur121d", "eca_botnext26ts_256", "efficientnet_b0", "eva02_tiny_patch14_224", "fastvit_sa12", "gernet_s",
    "ghostnetv2_100", "lambda_resnet26t", "levit_conv_128s", "mixer_s16_224", "mnasnet_small", "mobilenetv2_100",
    "mobilenetv3_small_100", "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium", "mobileone_s0", "mobilevitv2_050",
    "nf_regnet_b0", "pit_ti_distilled_224", "poolformer_s12", "regnety_002", "repvgg_a0", "resmlp_12_224", "resnet18",
    "resnetblur18", "test_efficientnet_evos", "test_efficientnet_gn", "test_efficientnet_ln", "test_maxvit",
    "test_vit2", "test_vit3", "test_vit4", "tf_efficientnet_lite0", "twins_pcpvt_small", "vit_pe_core_tiny_patch16_384",
    "vit_tiny_patch16_224", "xception41",
)  # fmt: skip

# Large networks, made smaller with options of their libraries' functions: {name: (options, note)}.
CUT: dict[str, tuple[dict[str, Any], str]] = {
    "vit_h_14": ({"image_size": 112}, "112 pixels"),
    "vit_l_16": ({"image_size": 112}, "112 pixels"),
    "deepseek_vit_412m": ({"depth": 2, "img_size": 224}, "two blocks, 224 pixels"),
    "gemma4_vit_167m_enc": ({"depth": 2, "img_size": 192}, "two blocks, 192 pixels"),
    "qwen3_vit_88m": ({"depth": 2, "img_size": 224}, "two blocks, 224 pixels"),
    "vit_pe_core_tiny_patch16_384": ({"img_size": 192}, "192 pixels"),
    "naflexvit_base_patch16_parfac_gap": ({"depth": 2}, "two blocks"),
}

# Networks that take any size get a smaller input than usual: at full size a forward pass takes minutes.
SIDES = {
    "convnext_large": 128, "csatv2": 256, "efficientnet_b4": 192, "efficientnet_b5": 192, "efficientnet_b6": 192,
    "efficientnet_b7": 192, "efficientnet_v2_l": 192, "efficientnet_v2_m": 192, "efficientnet_v2_s": 192,
    "regnet_x_32gf": 128, "regnet_y_128gf": 96, "regnet_y_16gf": 128, "regnet_y_32gf": 128, "sam2_hiera_tiny": 224,
}  # fmt: skip

# Fast networks of every kind, for continuous integration.
QUICK = (
    "transformers/BeitForImageClassification",
    "transformers/CLIPForImageClassification",
    "transformers/ConvNextForImageClassification",
    "transformers/DeiTForImageClassificationWithTeacher",
    "transformers/Dinov2WithRegistersForImageClassification",
    "transformers/HieraForImageClassification",
    "transformers/ImageGPTForImageClassification",
    "transformers/MobileViTForImageClassification",
    "transformers/PPLCNetForImageClassification",
    "transformers/ResNetForImageClassification",
    "transformers/SegformerForImageClassification",
    "transformers/SiglipForImageClassification",
    "transformers/SwinForImageClassification",
    "transformers/ViTForImageClassification",
    "torchvision/mobilenet_v3_small",
    "torchvision/squeezenet1_1",
    "timm/starnet_s050",
    "timm/test_byobnet",
    "timm/test_coatnet",
    "timm/test_efficientnet_gn",
    "timm/test_nfnet",
    "timm/test_resnet",
    "timm/test_vit",
    "timm/test_vit3",
)


def members(library: str) -> Iterator[Member]:
    """Yield all networks of one library."""
    yield from {"transformers": _of_transformers, "torchvision": _of_torchvision, "timm": _of_timm}[library]()


def _of_transformers() -> Iterator[Member]:
    for name in of_transformers():
        yield Member("transformers", name, transformers_maker(name), side_of(name))


def _of_torchvision() -> Iterator[Member]:
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        stated = torchvision.models.get_model_weights(name)["DEFAULT"].transforms().crop_size[0]
        options, note = CUT.get(name, ({}, ""))
        if name in ("inception_v3", "googlenet"):
            options = {"aux_logits": False}  # these heads are only for training
        side, note = _sized(name, options.get("image_size", stated), note)
        yield Member("torchvision", name, _torchvision_maker(name, options), side, note)


def _torchvision_maker(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two networks warn about slow initialisation
            made: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
        return made.eval()

    return make


def _of_timm() -> Iterator[Member]:
    import timm

    smallest = {SMALLEST[module] if module in SMALLEST else smallest_of(module) for module in timm.list_modules()}
    for name in sorted({*smallest, *MORE} & {*timm.list_models()}):
        options, note = CUT.get(name, ({}, ""))
        stated = timm.models.get_pretrained_cfg(name)
        side, note = _sized(name, options.get("img_size") or (stated.input_size[-1] if stated else 224), note)
        yield Member("timm", name, _timm_maker(name, options), side, note)


def _sized(name: str, stated: int, note: str) -> tuple[int, str]:
    """Return the side to try, and a note."""
    return (SIDES[name], f"{SIDES[name]} pixels") if name in SIDES else (stated, note)


def _timm_maker(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)
        return made.eval()

    return make


def smallest_of(module: str) -> str:
    """Return the member of a timm module with the fewest parameters."""
    import timm

    return min(timm.list_models(module=module), key=_parameters)


def _parameters(name: str) -> float:
    import timm
    import torch

    try:
        with torch.device("meta"):
            made = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    except Exception:  # some networks cannot be made on the meta device
        return float("inf")
    return sum(parameter.numel() for parameter in made.parameters())


if __name__ == "__main__":
    import timm

    for found in timm.list_modules():
        print(f'"{found}": "{smallest_of(found)}",', flush=True)
