"""From a card, or a module of the user, to the parts of a model: the network with its weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from camserve import config
from camserve.errors import OptionError
from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures.by_name import brought_along, brought_by, build
from camserve.models.architectures.completing import completed
from camserve.models.architectures.forms import is_zero_shot
from camserve.models.arguments import bound, in_words
from camserve.models.card_files import check_model_file, check_sha256
from camserve.models.compiled.model_file import is_model_file
from camserve.models.describing import described, files_and_labels
from camserve.models.labels import names_within
from camserve.models.parts import CardSource, Parts
from camserve.models.snapshot import frozen, snapshot, unwrapped
from camserve.models.weights.checkpoints import Checkpoint, read_checkpoint
from camserve.models.weights.own_heads import with_its_head
from camserve.models.weights.state_dicts import Difference, classes_of, fill, fit
from camserve.models.words.worded import is_worded, parts_named, parts_of_module


def assemble(source: CardSource) -> Parts:
    """Make the parts of the model that a card describes."""
    card, folder, name, labels, settings, home = source
    files, labels = files_and_labels(card, labels, home, settings.models)
    if is_zero_shot(card.architecture):
        return parts_named(source._replace(labels=labels))
    file = files.get("weights")
    sha256 = None if file is None else check_sha256(file, card.sha256)
    if is_model_file(card.architecture):
        sha256 = check_model_file(files["architecture"], card.sha256)
    module, checkpoint, prefix = _trained(card, file, folder, outputs.count_of(labels, None))
    module = bound(module, card.arguments)
    brought = brought_along(card.architecture, folder, card.input.model_fields_set, file, sha256)
    card = completed(card, brought, name).model_copy(update={"arguments": in_words(card.arguments)})
    found: Sequence[str] | None = None
    if labels is None:
        found = (names_within(checkpoint.labels) if checkpoint is not None else None) or brought.labels
    return Parts(frozen(module), card, name, labels, settings, sha256, home, checkpoint, prefix, found_labels=found)


def _trained(
    card: cards.Card, file: Path | None, folder: Path, classes: int | None
) -> tuple[nn.Module, Checkpoint | None, str]:
    """The network with its weights. It is built again if the file has another number of classes."""
    network = build(card.architecture, classes, folder=folder)
    if file is None:
        return network, None, ""
    fitted, prefix = fit(read_checkpoint(file, card.key), network)
    difference = Difference.between(fitted, network)
    others = None if difference.missing or difference.extra else classes_of(fitted, network)
    if others is not None:
        network = build(card.architecture, others, folder=folder)
    else:
        network = with_its_head(network, fitted, card.architecture)
    fill(network, fitted, card.architecture)
    return network, fitted, prefix


def from_module(
    module: nn.Module,
    own: Mapping[str, Any],
    labels: outputs.Labels | None,
    layer: str | None,
    settings: config.Settings,
) -> Parts:
    """The parts of a snapshot of a module. The other arguments are those of `camserve.load`."""
    if "weights" in own or "key" in own:
        raise OptionError("weights: a module has its own; module.load_state_dict puts others into it")
    name = type(module).__name__
    card = described(f"{type(module).__module__}:{name}", layer, own)
    if is_worded(module) and not card.arguments:  # with arguments, the sentences are already encoded
        return parts_of_module(module, card, labels, own.get("tokenizer"), settings)
    brought = brought_by(unwrapped(module), card.input.model_fields_set)
    copied = bound(snapshot(module), card.arguments)
    card = completed(card, brought, name).model_copy(update={"arguments": in_words(card.arguments)})
    return Parts(copied, card, name, labels, settings, found_labels=brought.labels if labels is None else None)
