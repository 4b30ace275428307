"""From a model that compares images with sentences to the parts of a classifier whose classes are sentences."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from camserve import config
from camserve.errors import ModelError, OptionError
from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures.zero_shot import Pair, Words, ZeroShot
from camserve.models.architectures.zero_shot_sources import is_open_clip, pair_named, pair_of, place_of
from camserve.models.architectures.zero_shot_transformers import is_dual
from camserve.models.card_files import check_model_folder
from camserve.models.parts import CardSource, Parts
from camserve.models.snapshot import add_weights, frozen

HOW = "give its classes as sentences, as in labels=['a tabby cat', 'a dog on grass']"


def parts_named(source: CardSource) -> Parts:
    """The parts of a card with the architecture "clip:...". Raises as `load`."""
    card, folder, name, labels, settings, home = source
    if card.weights is not None:
        raise OptionError(f"weights: '{card.architecture}' names a folder with its own weights; leave weights out")
    own = None if home is None else home.parent / place_of(card.architecture)
    if home is not None and own is not None and own.is_dir():  # else a name in the hub's cache
        check_model_folder(card.architecture, own, home, settings.models.shared)
    said = labels if labels is not None else card.zero_shot.labels if card.zero_shot else ()
    sentences = _sentences(card.architecture, said)
    return _parts(card, pair_named(card.architecture, folder), name, sentences, settings, home)


def parts_of_module(
    module: nn.Module, card: cards.Card, labels: outputs.Labels | None, tokenizer: Any, settings: config.Settings
) -> Parts:
    """The parts of a module with both towers, such as transformers' CLIPModel; the module does not change."""
    name = type(module).__name__
    sentences = _sentences(name, () if labels is None else labels)
    return _parts(card, pair_of(module, tokenizer), name, sentences, settings, None)


def is_worded(module: nn.Module) -> bool:
    """Whether a module compares images with sentences."""
    return is_dual(module) or is_open_clip(module)


def _sentences(what: str, labels: outputs.Labels) -> Sequence[str]:
    if not labels or not isinstance(labels, Sequence):
        raise ModelError(f"'{what}' compares images with sentences: {HOW}")
    return tuple(labels)


def _parts(
    card: cards.Card,
    pair: Pair,
    name: str,
    sentences: Sequence[str],
    settings: config.Settings,
    home: Path | None,
) -> Parts:
    words = Words(pair, card.zero_shot.templates if card.zero_shot else ())
    digest = hashlib.sha256()
    add_weights(digest, pair.image)
    module = frozen(ZeroShot(pair.image, words.features(sentences), words.bias))
    stated = {field: getattr(card.input, field) for field in card.input.model_fields_set}
    changes = {
        "input": cards.Input(**{**pair.input, **stated}),
        "scores": card.scores if "scores" in card.model_fields_set else pair.scores,
        "zero_shot": cards.Sentences(templates=card.zero_shot.templates if card.zero_shot else ()),
    }
    made = card.model_copy(update=changes)
    return Parts(module, made, name, sentences, settings, digest.hexdigest(), home, words=words)
