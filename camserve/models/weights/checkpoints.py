"""Checkpoints in all usual forms: the tensors of a .pth, .pt, .th, .bin or .safetensors file, by name.

The content of a file decides its kind. Code in a file never runs: see `camserve.models.weights.pickled`; and
safetensors cannot hold code. The only file that imports safetensors.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from camserve.errors import ModelError
from camserve.models.weights.pickled import SAVE, StandIn, holds_objects, read_pickled

# If one file has several state dicts, the first of these is used; averaged weights only if there are no others.
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights")
_LISTED = 8
# Keys under which training scripts store class names.
_LABELS = ("classes", "class_names", "class_to_idx", "idx_to_class", "id2label", "labels", "label_names", "categories")
_ABOUT = ("meta", "metadata", "config", "args", "hyper_parameters")


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of one file.

    file: its name. tensors: by key, as in the file. within: the keys that lead to the state dict in the file,
    "" if the file is the state dict. versions: of the modules that wrote it, as in torch's state dicts, if any.
    others: places of other state dicts in the file. labels: the value beside them under a key such as "classes",
    unchanged: class names that `camserve.models.labels.names_in_order` may be able to read.
    """

    file: str
    tensors: Mapping[str, torch.Tensor]
    within: str = ""
    versions: Mapping[str, Any] | None = None
    others: tuple[str, ...] = ()
    labels: Any = None

    def under(self, prefix: str) -> "Checkpoint":
        """The tensors whose names begin with `prefix`, without it; likewise the versions."""
        tensors = {key.removeprefix(prefix): one for key, one in self.tensors.items() if key.startswith(prefix)}
        versions = self.versions
        if versions is not None and prefix:
            inside = {key.removeprefix(prefix): one for key, one in versions.items() if key.startswith(prefix)}
            versions = {"": versions.get(prefix.rstrip("."), {}), **inside}
        return replace(self, tensors=tensors, versions=versions)


def read_checkpoint(path: Path, key: str | None = None) -> Checkpoint:
    """Read the weights of one file.

    key: the place of the weights in it, as in "ema.state_dict", or the beginning of their names, as in "student"; None:
    the only place, or the usual one. Raises ModelError if there are no weights, or none under `key`, if the file is a
    program or damaged, or if it has several state dicts.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"cannot load '{path.name}': it is a Git LFS pointer, not the file itself: git lfs pull")
    safe = start[8:9] == b"{"  # safetensors: eight bytes of length, then JSON
    loaded = _safetensors(path) if safe else read_pickled(path)
    found = dict(_state_dicts(loaded))
    if key is not None:
        made = _chosen(path.name, found, key.strip("."))
    else:
        made = _checkpoint(path.name, found, _usual_place(path.name, loaded, found))
    return replace(made, labels=_labels_beside(loaded))


def _labels_beside(loaded: Any) -> Any:
    """The class names in a file, at its top level or in a dict such as "meta" there; None if there are none."""
    if not isinstance(loaded, Mapping):
        return None
    places = [loaded, *(inside for name in _ABOUT if isinstance(inside := loaded.get(name), Mapping))]
    kept = (place[name] for place in places for name in _LABELS if isinstance(place.get(name), Mapping | list | tuple))
    return next(kept, None)


def _checkpoint(file: str, found: Mapping[str, Mapping[Any, Any]], place: str) -> Checkpoint:
    tensors = {str(key): value for key, value in found[place].items() if isinstance(value, torch.Tensor)}
    others = tuple(name for name in found if name != place)
    return Checkpoint(file, tensors, place, getattr(found[place], "_metadata", None), others)


def _chosen(file: str, found: Mapping[str, Mapping[Any, Any]], key: str) -> Checkpoint:
    """The state dict at `key`, else the only one below it, else the tensors whose names begin with it."""
    below = [place for place in found if place == key or place.startswith(f"{key}.")]
    if key in below or len(below) == 1:
        return _checkpoint(file, found, key if key in below else below[0])
    ways = [(place, inside) for place in found for inside in {key, key.removeprefix(f"{place}.")}]
    parts = {
        f"{place}.{inside}".strip("."): _checkpoint(file, found, place).under(f"{inside}.") for place, inside in ways
    }
    several = below or [way for way, part in parts.items() if part.tensors]
    if len(several) > 1:
        raise ModelError(
            f"'{file}' holds several state dicts under '{key}': {listed(several)}; give one of them as key"
        )
    if several:
        return replace(parts[several[0]], within=several[0])
    held = listed(place for place in found if place)
    kept = f"holds state dicts under {held}" if held else f"holds {_names(found)}"
    raise ModelError(f"'{file}' has no weights under key '{key}'; it {kept}")


def _names(found: Mapping[str, Mapping[Any, Any]]) -> str:
    """A phrase with the beginnings of the names in a file."""
    first = dict.fromkeys(str(key).partition(".")[0] for tensors in found.values() for key in tensors)
    return f"weights whose names begin with {listed(first)}" if first else "no weights by name"


def listed(names: Iterable[str]) -> str:
    """The first few names, quoted, and the number of the rest."""
    shown = list(names)
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(map(repr, shown[:_LISTED])) + more


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot load '{path.name}': damaged, or not a safetensors file: {error}") from None


def _usual_place(file: str, loaded: Any, found: Mapping[str, Mapping[Any, Any]]) -> str:
    """The usual place of the state dict in the file's content."""
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
            f"'{file}' holds several state dicts: {listed(found)}; say which one with key, as in key={plain[0]!r} or "
            f"--key {plain[0]}"
        )
    return plain[0]


def _state_dicts(loaded: Any, within: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every innermost mapping of names to tensors, with its dotted place, down to a few levels."""
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded) or len(within) > 4:
        return
    inside = [found for key, value in loaded.items() for found in _state_dicts(value, (*within, key))]
    if inside:
        yield from inside
    elif any(isinstance(value, torch.Tensor) for value in loaded.values()):
        yield ".".join(within), loaded


def _objects(loaded: Any, *, everywhere: bool) -> list[str]:
    """The classes of objects in the place of weights, such as a pickled network; else the first few beside them."""
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
