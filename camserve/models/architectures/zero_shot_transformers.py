"""CLIP-like models of transformers: both towers, and the input as their processors state it.

Any model that AutoModel makes with get_image_features and get_text_features; tried with CLIP, SigLIP and SigLIP 2.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camserve.errors import ModelError, OptionError, first_line, shown
from camserve.models.architectures.hub_cache import kept
from camserve.models.architectures.zero_shot import Pair
from camserve.models.architectures.zero_shot_input import stated_input
from camserve.models.snapshot import snapshot

# Models that were trained with text padded to one length.
_PADDED = ("siglip", "siglip2")


class Tower(nn.Module):
    """images (N, 3, H, W) -> features (N, D), by a model without its text tower."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _less(model, "text")

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        return _feature(self.model.get_image_features(pixel_values=images))


class PatchTower(Tower):
    """The image tower of SigLIP 2. It takes patches and their grid, so images may have any size."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side: int = model.config.vision_config.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D). Sides are multiples of the patch side."""
        side, (count, _, height, width) = self.side, images.shape
        if height % side or width % side:
            raise ValueError(f"sides must be multiples of {side} pixels")
        cells = images.unfold(2, side, side).unfold(3, side, side)  # (N, 3, h, w, side, side)
        patches = cells.permute(0, 2, 3, 4, 5, 1).reshape(count, -1, side * side * images.shape[1])
        grid = torch.tensor([[height // side, width // side]] * count)
        mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=images.device)
        return _feature(
            self.model.get_image_features(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grid)
        )


def is_dual(module: object) -> bool:
    """Whether a module has both towers, as CLIPModel has. transformers is not imported."""
    return all(callable(getattr(module, name, None)) for name in ("get_image_features", "get_text_features"))


def read(folder: Path) -> Pair:
    """The model in a folder that save_pretrained wrote. Raises ModelError, ImportError."""
    from transformers import AutoModel, AutoTokenizer

    with _no_bars():
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if not is_dual(model):
        raise ModelError(
            f"'{folder}' holds {type(model).__name__}, which has no tower for text; clip: takes models such as "
            "CLIPModel and SiglipModel"
        )
    return _pair(model, AutoTokenizer.from_pretrained(folder, local_files_only=True), folder)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Hide transformers' progress bars inside the block."""
    from transformers.utils import logging

    shows = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shows:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def pair_of(module: nn.Module, tokenizer: Any) -> Pair:
    """The towers of a loaded module, which is not changed. tokenizer: None takes the one in the module's folder."""
    folder = _home(module)
    if tokenizer is None:
        tokenizer = _tokenizer(module, folder)
    return _pair(snapshot(module), tokenizer, folder)


def _home(module: Any) -> Path | None:
    """The folder that a module was loaded from; None if it was not loaded."""
    place = str(getattr(module, "name_or_path", "") or "")
    if place and Path(place).is_dir():
        return Path(place)
    return kept(place) if place else None


def _tokenizer(module: nn.Module, folder: Path | None) -> Any:
    name = type(module).__name__
    try:
        from transformers import AutoTokenizer

        if folder is not None:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        reason = "it was not loaded from a folder"
    except Exception as error:  # the file is missing or of another kind
        reason = first_line(error)
    raise ModelError(
        f"{name} compares images with sentences, and there is no tokenizer to read them ({reason}): give it, as in "
        f"load(model, labels=[...], tokenizer=AutoTokenizer.from_pretrained(...)), or load 'clip:FOLDER'"
    )


def _pair(model: Any, tokenizer: Any, folder: Path | None) -> Pair:
    """The towers, with scale and bias as in the model's own forward."""
    bias = getattr(model, "logit_bias", None)
    scale = getattr(model, "logit_scale", None)
    kind = model.config.model_type
    patches = "spatial_shapes" in inspect.signature(model.get_image_features).parameters
    return Pair(
        image=PatchTower(model) if patches else Tower(model),
        text=_encoder(model, tokenizer, padded=kind in _PADDED),
        scale=1.0 if scale is None else float(scale.detach().exp()),
        bias=0.0 if bias is None else float(bias.detach()),
        scores="softmax" if bias is None else "sigmoid",
        input=stated_input(folder, model.config.vision_config),
    )


def _encoder(model: Any, tokenizer: Any, *, padded: bool) -> Callable[[Sequence[str]], Tensor]:
    text = _less(model, "vision", "visual").eval().requires_grad_(False)
    config = model.config.text_config
    longest = min(config.max_position_embeddings, getattr(tokenizer, "model_max_length", 10**9))
    taken = inspect.signature(text.get_text_features).parameters

    def encode(prompts: Sequence[str]) -> Tensor:
        padding: Any = {"padding": "max_length", "max_length": longest} if padded else {"padding": True}
        tokens = tokenizer(list(prompts), **padding, truncation=False, return_tensors="pt")
        if tokens["input_ids"].shape[1] > longest:
            long = max(prompts, key=len)
            raise OptionError(
                f"label {shown(long)} is too long: this model reads {longest} tokens, about as many words"
            )
        return _feature(text.get_text_features(**{name: value for name, value in tokens.items() if name in taken}))

    return encode


def _less(model: Any, *prefixes: str) -> Any:
    """A shallow copy of a model without the parts whose names begin with a prefix."""
    made = copy.copy(model)
    made._modules = {name: part for name, part in model._modules.items() if not name.startswith(prefixes)}
    made._parameters, made._buffers = dict(model._parameters), dict(model._buffers)
    return made


def _feature(answer: Any) -> Tensor:
    feature: Tensor = answer if isinstance(answer, Tensor) else answer.pooler_output
    return feature
