"""transformers' image classifiers: a folder that save_pretrained wrote, or a repository in the hub's local cache.

    hf:FOLDER          such as hf:./finch
    hf:OWNER/NAME      that repository in the local cache

Only classes of transformers are made. Code in a folder never runs.
"""

import json
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from camserve.errors import ModelError, NotInstalled, first_line
from camserve.models.architectures import of_timm
from camserve.models.architectures.brought import Brought, names_given
from camserve.models.architectures.hub_cache import folder_of, kept
from camserve.models.architectures.processor_files import FILES, input_of
from camserve.models.labels import names_within

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_SCORES = {"multi_label_classification": "sigmoid", "regression": "none", "single_label_classification": "softmax"}


def build(name: str, folder: Path) -> nn.Module:
    """The network of "FOLDER" or "OWNER/NAME" with its weights. folder: of relative paths. Raises ModelError."""
    place = folder_of(name, folder)
    stated = _config(place)
    if of_timm.is_folder_of(stated):
        return of_timm.from_folder(place)
    transformers = _library(name)
    _check_kind(transformers, stated, place)
    _check_weights(place)
    return _unwrapped(_loaded(transformers, place))


def brought(name: str, folder: Path, stated_input: Collection[str] = ()) -> Brought:
    """What the files beside the weights state. stated_input: the input fields that the user or the card states.

    Raises ModelError if a card cannot describe the processor, unless size, mean and std are stated.
    """
    place = folder_of(name, folder)
    stated = _config(place)
    if of_timm.is_folder_of(stated):
        return of_timm.brought_by_folder(stated)
    transformers = _library(name)
    with _quietly(transformers):
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    return _of_config(transformers, config, place, stated_input)


def code(name: str) -> tuple[str, str]:
    """The line of the import, and the call that makes the network."""
    kind = "AutoModelForImageClassification"
    return f"from transformers import {kind}", f"{kind}.from_pretrained({name!r})"


def brought_by(module: nn.Module, stated_input: Collection[str] = ()) -> Brought | None:
    """What a user's model of transformers states about itself; None for any other module. Raises as `brought`."""
    config = getattr(module, "config", None)
    if not any(kind.__name__ == "PreTrainedModel" for kind in type(module).__mro__) or not hasattr(config, "id2label"):
        return None
    path = str(getattr(config, "_name_or_path", "") or "")
    place = Path(path) if path and Path(path).is_dir() else kept(path) if path else None
    return _of_config(_library(path), config, place, stated_input)


def _of_config(transformers: ModuleType, config: Any, place: Path | None, stated_input: Collection[str]) -> Brought:
    labels = names_given(names_within(config.id2label) or ())
    scores = _SCORES.get(config.problem_type or "")
    if {"size", "mean", "std"} <= set(stated_input):
        return Brought({}, labels, scores)
    if config.model_type == "timm_wrapper":
        return Brought(of_timm.input_of(getattr(config, "pretrained_cfg", None) or {}), labels, scores)
    if place is not None and (found := processor_input(place)) is not None:
        return Brought(found, labels, scores)
    side = getattr(config, "image_size", None)
    size = {"size": tuple(side) if isinstance(side, list) else side} if isinstance(side, int | list | tuple) else {}
    where = f"'{place}' has no {FILES[0]}" if place is not None else f"this {type(config).__name__} names no folder"
    return Brought(size, labels, scores, f"{where} that states its preprocessing")


def processor_input(place: Path) -> dict[str, Any] | None:
    """The fields of `camserve.models.card.Input` that a folder's image processor states; None if it has no processor.

    Raises ModelError.
    """
    if not any((place / file).is_file() for file in FILES):
        return None
    transformers = _library(str(place))
    with _quietly(transformers):
        return input_of(_processor(transformers, place), place)


def _processor(transformers: ModuleType, place: Path) -> Any:
    try:
        return transformers.AutoImageProcessor.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a processor class that is unknown or missing, damaged files
        raise ModelError(
            f"the image processor of '{place}' cannot be made: {first_line(error)}; state the input yourself: size=, "
            "mean=, std= in units of 0..255, crop="
        ) from None


def _config(place: Path) -> dict[str, Any]:
    path = place / CONFIG
    if not path.is_file():
        raise ModelError(
            f"'{place}' has no {CONFIG}, so it is no model of transformers; give a folder that save_pretrained wrote"
        )
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read '{path}': {first_line(error)}") from None
    if not isinstance(stated, dict):
        raise ModelError(f"'{path}' holds no JSON object")
    return stated


def _check_kind(transformers: ModuleType, stated: dict[str, Any], place: Path) -> None:
    """Raise ModelError if transformers has no image classifier for the folder."""
    kind, made = stated.get("model_type"), (stated.get("architectures") or [""])[0]
    known = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    if kind not in transformers.CONFIG_MAPPING:
        own = "; its code is in the folder (auto_map), and camserve runs no code of a folder" * ("auto_map" in stated)
        raise ModelError(
            f"'{place}' is a model of the type {kind!r}, which transformers {transformers.__version__} does not "
            f"know{own}"
        )
    if "quantization_config" in stated:
        raise ModelError(f"'{place}' has quantised weights (quantization_config), which have no gradient")
    names = known.get(kind, ())
    if made in ((names,) if isinstance(names, str) else names) or (names and not made):
        return
    what = f"a {made}" if made else f"a model of the type {kind!r}"
    if {"text_config", "vision_config"} <= stated.keys() or made in ("CLIPModel", "SiglipModel"):
        raise ModelError(f"'{place}' is {what}, which compares pictures with words: use clip:{place} with labels")
    raise ModelError(
        f"'{place}' is {what} and no image classifier; allowed are transformers' ...ForImageClassification"
    )


def _check_weights(place: Path) -> None:
    """Raise ModelError if files of weights are missing."""
    there = next((file for file in WEIGHTS if (place / file).is_file()), None)
    if there is None:
        raise ModelError(f"'{place}' has no weights; allowed are {', '.join(WEIGHTS[::2])} and the same in shards")
    if not there.endswith(".index.json"):
        return
    try:
        parts = set(json.loads((place / there).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"cannot read '{place / there}': {first_line(error)}") from None
    missing = sorted(part for part in map(str, parts) if not (place / part).is_file())
    if missing:
        raise ModelError(f"'{place}' lacks {len(missing)} of the {len(parts)} files of its weights: {missing[0]}")


def _loaded(transformers: ModuleType, place: Path) -> nn.Module:
    """The network, with all weights from the folder. Raises ModelError."""
    try:
        with _quietly(transformers):
            made, found = transformers.AutoModelForImageClassification.from_pretrained(
                place,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # damaged files, pickles that hold more than weights, shapes that differ
        raise ModelError(f"the weights of '{place}' cannot be read: {first_line(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"'{place}' has no weights for {len(missing)} parts of its {type(made).__name__}, such as '{missing[0]}': "
            "it holds a network without this classifier"
        )
    network: nn.Module = made
    return network


def _unwrapped(network: nn.Module) -> nn.Module:
    """timm's own network, without the class of transformers around it."""
    inner = getattr(network, "timm_model", None)
    return inner if isinstance(inner, nn.Module) else network


def _library(name: str) -> ModuleType:
    try:
        import transformers
    except ModuleNotFoundError:
        raise NotInstalled(
            f"'hf:{name}' needs the package transformers, which is not installed: pip install \"camserve[hf]\""
        ) from None
    module: ModuleType = transformers
    return module


@contextmanager
def _quietly(transformers: ModuleType) -> Iterator[None]:
    """Without transformers' progress bars and tables: camserve reports problems as errors."""
    told = transformers.utils.logging
    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()
    try:
        yield
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()
