"""Checkpoints as people have them: the tensors of a .pth, .pt, .th, .bin or .safetensors file, by name.

The kind of a file is told from its content. Nothing in a file is ever run: see `camserve.models.pickled`; and
safetensors cannot hold code. The one place that imports safetensors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from camserve.errors import ModelError
from camserve.models.pickled import SAVE, StandIn, holds_objects, read_pickled

# Where several state dicts lie in one file, the first of these is meant; averaged weights only where alone.
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights")


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of one file.

    file: its name. tensors: by key, as they are in the file. within: the keys under which the state dict lies there,
    "" where it is the whole file. versions: of the modules that wrote it, as torch keeps them in state dicts, if any.
    """

    file: str
    tensors: Mapping[str, torch.Tensor]
    within: str = ""
    versions: Mapping[str, Any] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of one file. Raises ModelError: no weights, a program, damaged, several state dicts."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"cannot load '{path.name}': it is a Git LFS pointer, not the file itself: git lfs pull")
    safe = start[8:9] == b"{"  # safetensors: eight bytes of length, then JSON
    within, found = _state_dict(_safetensors(path) if safe else read_pickled(path), path.name)
    tensors = {str(key): value for key, value in found.items() if isinstance(value, torch.Tensor)}
    return Checkpoint(path.name, tensors, within, getattr(found, "_metadata", None))


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot load '{path.name}': damaged, or no safetensors file: {error}") from None


def _state_dict(loaded: Any, file: str) -> tuple[str, Mapping[Any, Any]]:
    """Where in the file's content the state dict is, and the state dict."""
    found = dict(_state_dicts(loaded))
    names = [name for name in _USUAL if name in found]
    objects = [] if names else _objects(loaded, everywhere=not found)
    if objects:
        raise ModelError(f"cannot load '{file}': {holds_objects(objects)}")
    names = names or list(found)
    plain = [name for name in names if "ema" not in name.lower()] or names
    if not plain:
        raise ModelError(f"'{file}' holds no weights by name, but {_summary(loaded)}; save them so: {SAVE}")
    if len(plain) > 1 and plain[0] not in _USUAL:
        raise ModelError(
            f"'{file}' holds several state dicts: {', '.join(map(repr, plain))}; save the one you mean by itself"
        )
    return plain[0], found[plain[0]]


def _state_dicts(loaded: Any, within: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every innermost mapping of names to tensors, with its dotted place. Nobody nests deeper than a few."""
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded) or len(within) > 4:
        return
    inside = [found for key, value in loaded.items() for found in _state_dicts(value, (*within, key))]
    if inside:
        yield from inside
    elif any(isinstance(value, torch.Tensor) for value in loaded.values()):
        yield ".".join(within), loaded


def _objects(loaded: Any, *, everywhere: bool) -> list[str]:
    """The classes of what lies in the place of weights, such as a pickled network; else the first few beside them."""
    if isinstance(loaded, StandIn):
        return [loaded.named]
    beside = loaded.items() if isinstance(loaded, Mapping) else ()
    named = [one.named for key, one in beside if isinstance(one, StandIn) and (everywhere or _is_usual(key))]
    return list(dict.fromkeys(named))[:3]


def _is_usual(key: Any) -> bool:
    return key in _USUAL or "ema" in str(key).lower()


def _summary(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return "the keys " + ", ".join(repr(key) for key in list(loaded)[:5]) if loaded else "nothing"
    return f"a {type(loaded).__name__}"
