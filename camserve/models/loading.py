"""From a card, an architecture with weights, or a module of the user's, to the parts of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from torch import nn

from camserve import config
from camserve.config.schema import Models
from camserve.errors import ModelError, ModelNotFound, OptionError, UnknownName, shown
from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures import hints
from camserve.models.architectures.by_name import build, defaults_of, is_architecture
from camserve.models.arguments import bound, in_words
from camserve.models.checkpoints import Checkpoint, read_checkpoint
from camserve.models.classifier import Parts
from camserve.models.labels import names_in_order, names_within
from camserve.models.own_heads import with_its_head
from camserve.models.snapshot import frozen, snapshot
from camserve.models.state_dicts import Difference, classes_of, fill, fit

Labels = Sequence[str | Sequence[str]] | Mapping[int, str] | Mapping[str, str] | Mapping[str, int] | str | Path
# The same, or of each output of a network with several.
LabelsOfEach = Labels | Mapping[str, Labels] | Mapping[int, Labels]

# What `load` takes besides the fields of `cards.Input`.
_NO_INPUTS = ("weights", "key", "scores", "output", "arguments", "aliases")

# The name of the class names that camserve brings, where no file is called so.
IMAGENET = "imagenet"


def parts_of(
    source: str | Path | nn.Module | None,
    *,
    labels: LabelsOfEach | None,
    layer: str | None,
    settings: config.Settings | None,
    own: Mapping[str, Any],
    output: outputs.Output | None = None,
) -> Parts:
    """What `camserve.load` makes a model of.

    own: weights, key, scores, arguments and fields of `cards.Input`, where given.
    """
    settings = settings or config.settings()
    source = settings.explain.model if source is None else source
    own = given(own)
    _check_options(own)
    if isinstance(source, nn.Module):
        return _from_module(source, {**own, "output": output}, names_by_output(labels), layer, settings)
    if not isinstance(source, str | Path):
        hint = ", which makes one: call it" if callable(source) else ""
        raise OptionError(
            f"{shown(source)} is no model{hint}; allowed are a card's name or path, an architecture such as "
            "'torchvision:resnet18', and an nn.Module"
        )
    if is_architecture(str(source)):
        card = described(str(source), layer, {**own, "output": output})
        return assemble(card, Path(), name_for(card), names_by_output(labels), settings)
    path = _card_of(source, settings.models)
    if own:
        raise OptionError(
            f"{', '.join(own)}: a card says this itself; only an nn.Module or an architecture takes it here"
        )
    card = cards.read_card(path)
    if layer is not None:
        card = card.model_copy(update={"layer": layer})
    if labels is not None and output is not None:
        card = card.model_copy(update={"output": None})  # or the labels given would count as those of its output
    parts = assemble(card, path.parent, path.parent.name, names_by_output(labels), settings, home=path)
    return parts._replace(output=output)


def _card_of(source: str | Path, models: Models) -> Path:
    """The card.toml that `source` means. Raises ModelNotFound, with what to write for names of other libraries."""
    try:
        return cards.card_path(source, models)
    except ModelNotFound as error:
        hint = hints.of_source(str(source))
        raise (ModelNotFound(str(source), cards.find_cards(models), hint) if hint else error) from None


def described(architecture: str, layer: str | None, own: Mapping[str, Any]) -> cards.Card:
    """The card of an architecture with options of `load`. Raises OptionError naming what is wrong with them."""
    own = given(own)
    inputs = {key: value for key, value in own.items() if key not in _NO_INPUTS}
    if ("mean" in inputs) != ("std" in inputs):
        raise OptionError("mean and std belong together: give both, in units of 0..255")
    try:
        spec = cards.Input(**inputs)
        more = {key: own[key] for key in ("scores", "output", "aliases") if key in own}
        card = cards.Card(architecture=architecture, layer=layer, input=spec, **more)
    except ValidationError as error:
        raise OptionError(cards.problems(error)) from None
    card = card.model_copy(update={"arguments": dict(own.get("arguments", {}))})
    if "weights" not in own:
        if "key" in own:
            raise OptionError(f"key {own['key']!r} says which part of a file of weights is meant: give weights, too")
        return card
    weights = str(own["weights"])
    if not weights.startswith("package:") and not Path(weights).is_file():
        hint = hints.of_weights(architecture, weights)
        raise ModelError(
            f"there is no file '{weights}' with weights; camserve downloads none" + (f". {hint}" if hint else "")
        )
    return card.model_copy(update={"weights": weights, "key": own.get("key")})


def _check_options(own: Mapping[str, Any]) -> None:
    """Raise OptionError for what is no option of `load`, saying where it belongs if it is a setting."""
    known = (*_NO_INPUTS, *cards.Input.model_fields)
    for name in own.keys() - set(known):
        if name in config.Settings.model_fields:
            raise OptionError(
                f"'{name}' is a section of the settings and no option of load; give them as load(..., "
                f"settings=camserve.config.load_settings(overrides={{'{name}': {own[name]!r}}}))"
            )
        raise UnknownName("option of load", name, ("labels", "layer", "settings", *known))


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def name_for(card: cards.Card) -> str:
    """What a model without a card's folder is called: its weights, else its architecture."""
    return Path(card.weights).stem if card.weights else card.architecture.rpartition(":")[2]


def assemble(
    card: cards.Card,
    folder: Path,
    name: str,
    labels: outputs.Labels | None,
    settings: config.Settings,
    *,
    home: Path | None = None,
) -> Parts:
    """Make what a card says. folder: what its files are relative to. labels: in place of the card's."""
    beside = home or folder / "card.toml"
    if labels is None and card.labels is not None:
        labels = _labels_beside(card.labels, beside)
    file = None if card.weights is None else cards.resolve_file(card.weights, beside, card.install)
    sha256 = None if file is None else cards.check_sha256(file, card.sha256)
    module, checkpoint, prefix = _trained(card, file, folder, outputs.count_of(labels, None))
    module = bound(module, card.arguments)
    card = card.model_copy(update={"input": _completed(card), "arguments": in_words(card.arguments)})
    found = None if checkpoint is None or labels is not None else names_within(checkpoint.labels)
    return Parts(frozen(module), card, name, labels, settings, sha256, home, checkpoint, prefix, found_labels=found)


def _trained(
    card: cards.Card, file: Path | None, folder: Path, classes: int | None
) -> tuple[nn.Module, Checkpoint | None, str]:
    """The network with its weights; made again where the file knows another number of classes."""
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


def _completed(card: cards.Card) -> cards.Input:
    """The card's input, with what it leaves open as the architecture's library states it."""
    stated = {field: getattr(card.input, field) for field in card.input.model_fields_set}
    others = card.input.count != 3  # of which the library says nothing
    known = {
        field: value
        for field, value in defaults_of(card.architecture).items()
        if not (others and field in ("mean", "std"))
    }
    return cards.Input(**{**known, **stated})


def _labels_beside(labels: str | dict[str, str], card: Path) -> outputs.Labels:
    """The class names in the files that a card names."""
    if isinstance(labels, str):
        return cards.read_labels(cards.resolve_file(labels, card))
    return {output: cards.read_labels(cards.resolve_file(file, card)) for output, file in labels.items()}


def names_by_output(labels: LabelsOfEach | None) -> outputs.Labels | None:
    """As `names_of`, also from a dict of what a user gives for each output."""
    if isinstance(labels, Mapping) and labels and all(map(_are_names, labels.values())):
        return {output: names_of(cast(Labels, names)) or () for output, names in labels.items()}
    return names_of(cast(Labels, labels))


def _are_names(value: object) -> bool:
    """Whether a value of a dict of labels holds the names of an output, and is no name itself."""
    if isinstance(value, str):
        return value == IMAGENET or Path(value).suffix == ".txt"
    return isinstance(value, Sequence | Mapping | Path)


def names_of(labels: Labels | None) -> Sequence[str] | None:
    """Class names from what a user gives for them. Raises ModelError where a file or a dict cannot be read."""
    if labels is None:
        return None
    if not isinstance(labels, str | Path):
        return names_in_order(labels)
    if str(labels) == IMAGENET and not Path(labels).exists():
        return cards.read_labels(config.shipped("models") / "imagenet.txt")
    return cards.read_labels(Path(labels))


def _from_module(
    module: nn.Module,
    own: Mapping[str, Any],
    labels: outputs.Labels | None,
    layer: str | None,
    settings: config.Settings,
) -> Parts:
    if "weights" in own or "key" in own:
        raise OptionError("weights: a module has its own; module.load_state_dict puts others into it")
    name = type(module).__name__
    card = described(f"{type(module).__module__}:{name}", layer, own)
    copied = bound(snapshot(module), card.arguments)
    card = card.model_copy(update={"arguments": in_words(card.arguments)})
    return Parts(copied, card, name, labels, settings)
