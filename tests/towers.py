"""Small models of images and sentences with random weights, as transformers and open_clip write them to folders."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

SIDE = 64
SENTENCES = ("a tabby cat", "a dog on grass", "the red car")
_WORDS = ("a photo drawing of the dog cat on grass red car", "blue tabby well - known , ; and no")
_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT = {**_SMALL, "vocab_size": 40, "max_position_embeddings": 16}
_MARKS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def tokenizer(**more: Any) -> Any:
    """One of words, 16 tokens long."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", *" ".join(_WORDS).split()]
    made = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[BOS]", 2), ("[EOS]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=ends)
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "bos", "eos")}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=16, **marks, **more)


def spread(model: Any) -> Any:
    """The same with weights that tell images and sentences apart; random ones of transformers hardly do."""
    with torch.no_grad():
        for number, (name, weight) in enumerate(model.named_parameters()):
            if weight.ndim > 1 or "embedding" in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) / 5)
    return model.eval()


def clip() -> Any:
    """A CLIPModel."""
    from transformers import CLIPConfig, CLIPModel

    vision = {**_SMALL, "image_size": SIDE, "patch_size": 16}
    return spread(CLIPModel(CLIPConfig(text_config=_TEXT | _MARKS, vision_config=vision, projection_dim=24)))


def siglip() -> Any:
    """A SiglipModel whose bias is not 0."""
    from transformers import SiglipConfig, SiglipModel

    vision = {**_SMALL, "image_size": SIDE, "patch_size": 16}
    made = spread(SiglipModel(SiglipConfig(text_config=_TEXT | _MARKS | {"projection_size": 32}, vision_config=vision)))
    nn.init.constant_(made.logit_bias, -3.0)
    nn.init.constant_(made.logit_scale, 1.5)
    return made


def siglip2() -> Any:
    """A Siglip2Model, which is given patches."""
    from transformers import Siglip2Config, Siglip2Model

    vision = {**_SMALL, "num_patches": 16, "patch_size": 16}
    text = _TEXT | _MARKS | {"projection_size": 32}
    made = spread(Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)))
    nn.init.constant_(made.logit_bias, -2.0)
    return made


def saved(kind: str, folder: Path) -> Path:
    """One of the above in a folder, with its tokeniser and its processor."""
    from transformers import CLIPImageProcessor, Siglip2ImageProcessor, SiglipImageProcessor

    processors: dict[str, Any] = {
        "clip": lambda: CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        "siglip": lambda: SiglipImageProcessor(size={"height": SIDE, "width": SIDE}),
        "siglip2": lambda: Siglip2ImageProcessor(patch_size=16, max_num_patches=16),
    }
    {"clip": clip, "siglip": siglip, "siglip2": siglip2}[kind]().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    processors[kind]().save_pretrained(folder)
    return folder


OPEN = {
    "ViT": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16},
    "RN": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None, "head_width": 16},
}


def saved_open(kind: str, folder: Path) -> Path:
    """A model of open_clip in a folder of its own form. kind: of OPEN."""
    import open_clip
    from safetensors.torch import save_file

    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": OPEN[kind], "text_cfg": text}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file({name: value.contiguous() for name, value in spread(model).state_dict().items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    return folder
