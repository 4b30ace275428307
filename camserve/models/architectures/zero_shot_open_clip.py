"""CLIP-like models of open_clip, an extra: a folder with open_clip_config.json and weights.

This is the only file that imports open_clip.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camserve.errors import ModelError, OptionError, shown
from camserve.models.architectures.zero_shot import Pair
from camserve.models.snapshot import snapshot


class OpenTower(nn.Module):
    """images (N, 3, H, W) -> features (N, D)."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        features = self.visual(images)
        feature: Tensor = features[0] if isinstance(features, tuple) else features
        return feature


def read(folder: Path) -> Pair:
    """The model in a folder. Raises ImportError, and any error of open_clip."""
    import open_clip

    if "model_cfg" not in json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8")):
        raise ModelError(f"'{folder}/open_clip_config.json' has no model_cfg")
    name = f"local-dir:{folder}"
    model = open_clip.create_model(name, precision="fp32", device="cpu")
    return _pair(model.eval(), open_clip.get_tokenizer(name))


def pair_of(module: nn.Module, tokenizer: Any) -> Pair:
    """The towers of a loaded module, which is not changed."""
    if tokenizer is None:
        raise ModelError(
            f"{type(module).__name__} compares images with sentences, and does not say how they are read: give its "
            "tokenizer, as in load(model, labels=[...], tokenizer=open_clip.get_tokenizer('ViT-B-32'))"
        )
    return _pair(snapshot(module), tokenizer)


def _pair(model: Any, tokenizer: Any) -> Pair:
    bias = getattr(model, "logit_bias", None)
    return Pair(
        image=OpenTower(model.visual),
        text=_encoder(model, tokenizer),
        scale=float(model.logit_scale.detach().exp()),
        bias=0.0 if bias is None else float(bias.detach()),
        scores="softmax" if bias is None else "sigmoid",
        input=_input(getattr(model.visual, "preprocess_cfg", None) or {}, model.visual),
    )


def _encoder(model: Any, tokenizer: Any) -> Callable[[Sequence[str]], Tensor]:
    model.requires_grad_(False)

    def encode(prompts: Sequence[str]) -> Tensor:
        longest = getattr(tokenizer, "context_length", None)
        if longest and hasattr(tokenizer, "encode"):
            for prompt in prompts:  # open_clip would cut it without a warning; two more tokens mark start and end
                if len(tokenizer.encode(prompt)) + 2 > longest:
                    raise OptionError(
                        f"label {shown(prompt)} is too long: this model reads {longest} tokens, about as many words"
                    )
        with torch.no_grad():
            features: Tensor = model.encode_text(tokenizer(list(prompts)))
        return features

    return encode


def _input(stated: dict[str, Any], visual: Any) -> dict[str, Any]:
    """Fields of `camserve.models.card.Input`, from open_clip's preprocess_cfg."""
    size = stated.get("size") or getattr(visual, "image_size", 224)
    made: dict[str, Any] = {"size": tuple(size) if isinstance(size, list | tuple) else size, "crop": 1.0}
    if stated.get("interpolation") in ("bicubic", "bilinear"):
        made["resample"] = stated["interpolation"]
    for field in ("mean", "std"):
        values = stated.get(field) or getattr(visual, f"image_{field}", None)
        if values:
            made[field] = tuple(255 * value for value in values)
    return made
