"""From a name, or a loaded module, to the two towers of a zero-shot model.

clip:FOLDER            a folder written by transformers' save_pretrained or by open_clip
clip:open_clip:FOLDER  open_clip, if the folder has files of both
clip:OWNER/NAME        such a folder in the local hub cache; nothing is downloaded
"""

from pathlib import Path
from typing import Any

from torch import nn

from camserve.errors import ModelError, NotInstalled, OptionError, first_line
from camserve.models.architectures import zero_shot_open_clip, zero_shot_transformers
from camserve.models.architectures.hub_cache import kept
from camserve.models.architectures.zero_shot import PREFIX, Pair
from camserve.models.architectures.zero_shot_transformers import is_dual

OPEN_CLIP = "open_clip:"


def is_open_clip(module: object) -> bool:
    """Whether it is a model of open_clip. Such a model does not say where its tokeniser is."""
    return isinstance(module, nn.Module) and all(
        callable(getattr(module, name, None)) for name in ("encode_image", "encode_text")
    )


def place_of(architecture: str) -> str:
    """The folder, or the name in the hub's cache, in "clip:..."."""
    return architecture.removeprefix(PREFIX).removeprefix(OPEN_CLIP)


def pair_named(architecture: str, folder: Path) -> Pair:
    """The model that "clip:..." names. folder: the start of a relative path. Raises ModelError, NotInstalled."""
    found = _folder(place_of(architecture), folder, architecture)
    forced = architecture.startswith(PREFIX + OPEN_CLIP)
    if forced or not (found / "config.json").is_file():
        if not (found / "open_clip_config.json").is_file():
            raise ModelError(
                f"'{found}' holds no CLIP-like model: there is neither config.json with the weights, as transformers' "
                "save_pretrained writes them, nor open_clip_config.json"
            )
        read, extra = zero_shot_open_clip.read, "open_clip"
    else:
        read, extra = zero_shot_transformers.read, "transformers"
    try:
        return read(found)
    except (ModelError, OptionError):
        raise
    except ImportError as error:
        raise NotInstalled(
            f"'{architecture}' needs {extra}, and {first_line(error)}: pip install 'camserve[clip]'"
        ) from None
    except Exception as error:  # any error of a library that reads an unknown folder
        raise ModelError(f"cannot load '{architecture}': {type(error).__name__}: {first_line(error)}") from None


def pair_of(module: nn.Module, tokenizer: Any) -> Pair:
    """The towers of a loaded module. tokenizer: None takes the one in the module's folder."""
    library = zero_shot_transformers if is_dual(module) else zero_shot_open_clip
    found: Pair = library.pair_of(module, tokenizer)
    return found


def _folder(place: str, relative_to: Path, architecture: str) -> Path:
    """The folder that `place` means. Raises ModelError."""
    path = relative_to / Path(place).expanduser()
    try:
        if path.is_dir():
            return path
    except (OSError, ValueError):
        pass
    if (found := kept(place)) is not None:
        return found
    raise ModelError(
        f"'{architecture}' names no folder, and the local hub cache has no '{place}'; camserve downloads nothing. "
        f"Give the folder of the model, as in {PREFIX}./clip-vit-base-patch32"
    )
