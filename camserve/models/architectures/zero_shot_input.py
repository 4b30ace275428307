"""The input of CLIP-like models; if no processor is saved with the model, the usual input of its family."""

from pathlib import Path
from typing import Any

from camserve.models.architectures.of_transformers import processor_input

# Mean and std of colours of 0..1: of SigLIP, and of CLIP and similar models.
_SIGLIP = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def stated_input(folder: Path | None, vision: Any) -> dict[str, Any]:
    """Fields of `camserve.models.card.Input`. folder: of the model, None if it was not loaded from a folder.

    vision: the configuration of its vision tower. Raises ModelError for a processor that a card cannot describe.
    """
    takes_patches = hasattr(vision, "num_patches")  # their number depends on the picture's shape; here it is a square
    if folder is not None and not takes_patches and (found := processor_input(folder)) is not None:
        return found
    is_siglip = "siglip" in vision.model_type
    side = getattr(vision, "image_size", None) or round(vision.num_patches**0.5) * vision.patch_size
    mean, std = (tuple(255 * one for one in values) for values in (_SIGLIP if is_siglip else _CLIP))
    resize = {"sides": side, "cut": "none"} if is_siglip else {"short": side}
    return {"size": side, "crop": 1.0, "resample": "bicubic", "mean": mean, "std": std, "resize": resize}
