"""From a card, or a module of the user's, to a Model."""

import copy
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camserve import cards, config
from camserve.errors import ModelError, OptionError
from camserve.models import Model


def load(
    source: str | Path | nn.Module | None = None,
    *,
    labels: Sequence[str] | None = None,
    layer: str | None = None,
    settings: config.Settings | None = None,
    **input_options: Any,
) -> Model:
    """Make a classifier ready to be explained.

    source: a card's name ("efficientnet-lite0", the default), the path of a card, or an nn.Module, of which a
    snapshot is taken: the module itself is never touched. labels: class names in the order of the logits.
    layer: where to look; found by itself where not given. input_options: for a module, fields of
    `camserve.cards.Input` (size, mean, std ...); ImageNet's usual values where not given.
    Raises ModelNotFound, ModelError.
    """
    settings = settings or config.settings()
    if isinstance(source, nn.Module):
        return _from_module(source, labels, layer, settings, input_options)
    if input_options:
        raise OptionError(f"{', '.join(input_options)}: a card says this itself; only an nn.Module takes it here")
    path = cards.card_path(source or settings.explain.model, settings.models)
    card = cards.read_card(path)
    if layer is not None:
        card = card.model_copy(update={"layer": layer})
    name = path.parent.name
    module = _build(card, name)
    sha256 = _load_weights(module, card, path) if card.weights is not None else None
    names = labels if labels is not None else cards.read_labels(card.labels, path)
    return Model(_frozen(module), card, name=name, labels=names, settings=settings, weights_sha256=sha256, home=path)


def _from_module(
    module: nn.Module,
    labels: Sequence[str] | None,
    layer: str | None,
    settings: config.Settings,
    input_options: dict[str, Any],
) -> Model:
    try:
        spec = cards.Input(**input_options)
    except ValueError as error:
        raise OptionError(f"input of the module: {error}") from None
    name = type(module).__name__
    card = cards.Card(architecture=f"{type(module).__module__}:{name}", layer=layer, input=spec)
    snapshot = _frozen(copy.deepcopy(module))
    return Model(snapshot, card, name=name, labels=labels, settings=settings)


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def _build(card: cards.Card, name: str) -> nn.Module:
    package, _, factory = card.architecture.partition(":")
    try:
        made = getattr(import_module(package), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ModelError(f"'{name}': cannot make architecture '{card.architecture}': {error}") from None
    if not isinstance(made, nn.Module):
        raise ModelError(f"'{name}': '{card.architecture}' made a {type(made).__name__}, not an nn.Module")
    return made


def _load_weights(module: nn.Module, card: cards.Card, path: Path) -> str:
    """Load the card's weights into `module`; returns their SHA-256."""
    assert card.weights is not None
    file = cards.resolve_file(card.weights, path, card.install)
    sha256 = cards.check_sha256(file, card.sha256)
    try:
        module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and key errors alike: all mean that file and network do not fit
        raise ModelError(f"'{path.parent.name}': cannot load '{file.name}': {' '.join(str(error).split())}") from None
    return sha256
