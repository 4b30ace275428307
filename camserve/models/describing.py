"""A card from what a user passes to `load`: options, class names, files. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from camserve import config
from camserve.catalogue.class_sentences import checked_templates
from camserve.config.schema import Models
from camserve.config.validation_words import faults_of
from camserve.errors import ModelError, OptionError, UnknownName, shown
from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures.hub_cache import repository_of
from camserve.models.card_files import PACKAGE, is_there, package_file, read_labels
from camserve.models.compiled.model_file import SAVED_MODEL, is_model_file
from camserve.models.labels import names_in_order

Labels = Sequence[str | Sequence[str]] | Mapping[int, str] | Mapping[str, str] | Mapping[str, int] | str | Path
# Labels, or labels of each output of a network with several.
LabelsOfEach = Labels | Mapping[str, Labels] | Mapping[int, Labels]

# Options of `load` that are not fields of `cards.Input`.
_NO_INPUTS = ("weights", "key", "scores", "output", "region", "arguments", "aliases", "templates", "tokenizer")

# The name of camserve's own list of ImageNet's classes, unless a file has this name.
IMAGENET = "imagenet"

# Prefix of the keys of labels by output, among the files of a card.
LABELS_OF = "labels."


def described(architecture: str, layer: str | None, own: Mapping[str, Any]) -> cards.Card:
    """The card of an architecture with options of `load`. Raises OptionError that says which option is wrong."""
    own = given(own)
    inputs = {key: value for key, value in own.items() if key not in _NO_INPUTS}
    if ("mean" in inputs) != ("std" in inputs):
        raise OptionError("mean and std belong together: give both, in units of 0..255")
    try:
        spec = cards.Input(**inputs)
        more: dict[str, Any] = {key: own[key] for key in ("scores", "output", "region", "aliases") if key in own}
        if "templates" in own:
            more["zero_shot"] = cards.Sentences(templates=checked_templates(own["templates"]))
        card = cards.Card(architecture=architecture, layer=layer, input=spec, **more)
    except ValidationError as error:
        raise OptionError(faults_of(error)) from None
    arguments = own.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise OptionError(
            f"arguments {shown(arguments)} is not a dict; give the inputs of forward besides images, by name"
        )
    card = card.model_copy(update={"arguments": dict(arguments)})
    if is_model_file(architecture) and "weights" in own:
        raise OptionError(f"weights: '{architecture}' has its own inside; leave weights out")
    if "weights" not in own:
        if "key" in own:
            raise OptionError(f"key {own['key']!r} says which part of a file of weights is meant: give weights, too")
        return card
    if not isinstance(own.get("key", ""), str):
        raise OptionError(f"key {shown(own['key'])} is not a string")
    weights = str(own["weights"])
    if weights.startswith(PACKAGE) or is_there(Path(weights)):
        return card.model_copy(update={"weights": weights, "key": own.get("key")})
    from camserve.models.architectures import hints  # torch, which takes seconds

    if (here := hints.kept_weights(architecture, weights)) is not None:
        weights = str(here)
    else:
        hint = hints.of_weights(architecture, weights)
        raise ModelError(
            f"there is no file '{weights}' with weights; camserve downloads none" + (f". {hint}" if hint else "")
        )
    return card.model_copy(update={"weights": weights, "key": own.get("key")})


def check_options(own: Mapping[str, Any]) -> None:
    """Raise OptionError for an unknown option of `load`; if it is a setting, the error says where to give it."""
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
    """The name of a model without a card's folder: from its weights, else from its architecture."""
    if is_model_file(card.architecture):
        path = Path(card.architecture)
        return path.absolute().parent.name if path.name == SAVED_MODEL else path.stem
    if (repository := repository_of(card.architecture)) is not None:
        return Path(repository).resolve().name if Path(repository).is_dir() else repository.rpartition("/")[2]
    return Path(card.weights).stem if card.weights else Path(card.architecture.rpartition(":")[2]).name


def files_and_labels(
    card: cards.Card, labels: outputs.Labels | None, home: Path | None, models: Models
) -> tuple[dict[str, Path], outputs.Labels | None]:
    """The files that the model needs, by key of the card, and the class names. labels: instead of the card's.

    home: the card's own file; None if the user, not a card, names the files.
    """
    if labels is not None:
        return _files_of(card.model_copy(update={"labels": None}), home, models), labels
    files = _files_of(card, home, models)
    return files, _labels_in(files)


def _files_of(card: cards.Card, home: Path | None, models: Models) -> dict[str, Path]:
    if home is not None:
        return cards.resolve_files(card, home, models)
    if is_model_file(card.architecture):
        return {"architecture": Path(card.architecture)}
    if card.weights is None:
        return {}
    return {"weights": package_file(card.weights) if card.weights.startswith(PACKAGE) else Path(card.weights)}


def _labels_in(files: Mapping[str, Path]) -> outputs.Labels | None:
    """The class names in the files that a card names."""
    by_output: dict[outputs.Output, Sequence[str]] = {
        key.removeprefix(LABELS_OF): read_labels(file) for key, file in files.items() if key.startswith(LABELS_OF)
    }
    return by_output or (read_labels(files["labels"]) if "labels" in files else None)


def names_by_output(labels: LabelsOfEach | None) -> outputs.Labels | None:
    """As `names_of`, also for a dict of the labels of each output."""
    if isinstance(labels, Mapping) and labels and all(map(_are_names, labels.values())):
        return {output: names_of(cast(Labels, names)) or () for output, names in labels.items()}
    return names_of(cast(Labels, labels))


def _are_names(value: object) -> bool:
    """Whether a value in a dict of labels holds the names of an output, rather than one name."""
    if isinstance(value, str):
        return value == IMAGENET or Path(value).suffix == ".txt"
    return isinstance(value, Sequence | Mapping | Path)


def names_of(labels: Labels | None) -> Sequence[str] | None:
    """The class names from the `labels` of a user. Raises ModelError if a file or a dict cannot be read."""
    if labels is None:
        return None
    if not isinstance(labels, str | Path):
        return names_in_order(labels)
    if str(labels) == IMAGENET and not Path(labels).exists():
        return read_labels(config.shipped("models") / "imagenet.txt")
    return read_labels(Path(labels))
