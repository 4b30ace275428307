"""Adds a model: from a checkpoint to a folder with a card. The model is tested before anything is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camserve import config
from camserve.catalogue.method import Progress
from camserve.errors import ModelError, OptionError, OutputError, shown
from camserve.explanation.explanation import Explanation
from camserve.model import Model
from camserve.models.architectures.by_name import brought_along
from camserve.models.architectures.factories import file_of
from camserve.models.architectures.forms import is_architecture
from camserve.models.architectures.hints import of_source
from camserve.models.architectures.hub_cache import repository_of
from camserve.models.architectures.other_kinds import CHECKPOINT, kind_of, what_to_do
from camserve.models.assembling import assemble
from camserve.models.card import find_cards
from camserve.models.compiled.model_file import is_model_file
from camserve.models.describing import Labels, described, given, name_for, names_of
from camserve.models.parts import CardSource, Parts
from camserve.models.weights.checkpoints import listed
from camserve.models.weights.own_heads import assumed
from camserve.onboarding.finding_input import Found, assumed_input, find_input, said_of
from camserve.onboarding.new_card import LABELS, card_of, card_text, in_place
from camserve.system.files import write_all

CARD = "card.toml"
# A name that also works in web addresses and on any file system. It has no separator, so it stays in its folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Added:
    """A model that has been added.

    card: the file of its card. reference: the value for `--model`. facts: facts about the model, in words. found: the
    result of the search for its input, if photographs were given.
    """

    card: Path
    reference: str
    facts: dict[str, str]
    found: Found | None = None


def add(
    checkpoint: str | Path,
    architecture: str | None = None,
    *,
    labels: Labels | None = None,
    name: str | None = None,
    folder: Path | None = None,
    layer: str | None = None,
    force: bool = False,
    photos: Path | None = None,
    progress: Progress | None = None,
    settings: config.Settings,
    **own: Any,
) -> Added:
    """Make FOLDER/NAME/ with a card, the weights, the labels and, if the architecture is a file, that file.

    The model is loaded and explains one picture first; if that fails, nothing is written. checkpoint: a file, a name of
    weights such as "DEFAULT", or an architecture with its own weights, such as "hf:FOLDER". A folder is copied, unless
    it is the card's own folder or lies beside it; files in the hub's cache stay there. architecture, labels, layer,
    own: see `camserve.load`. name: default: the name of the checkpoint without its ending. folder: default: the first
    of `models.folders`. force: replace existing files. photos: labelled photographs; they find the fields of the input
    that are not given, see `find_input`. progress: called during this search.
    Raises OptionError, OutputError if the model already exists, and the errors of `camserve.load`.
    """
    kept, weights = (str(checkpoint), None) if _is_whole(str(checkpoint)) else (None, checkpoint)
    if kept is not None and architecture is not None:
        raise OptionError(f"{shown(kept)} contains its architecture: leave out --architecture")
    if kept is None and architecture is None:
        raise OptionError(_lacking(checkpoint))
    architecture = kept or architecture or ""
    names, program = names_of(labels), _program(architecture)
    card = described(architecture, layer, {"weights": weights, **own})
    own_name = name_for(card) if str(weights) == card.weights or kept else architecture.rpartition(":")[2]
    target = folder_for(folder, settings) / checked_name(name or own_name)
    own_files, stated = in_place(architecture, card.weights, program, target)
    sources = {path.name: path for path in own_files}
    refuse_to_replace(target, [*sources, CARD, *([LABELS] if names or photos else [])], sources, force)
    parts = assemble(CardSource(card, Path(), target.name, names, settings))
    found = None if photos is None else find_input(parts, photos, given(own), progress)
    if found is not None:
        names = found.labels
        card = parts.card.model_copy(update={"input": found.best.input})
        parts = parts._replace(card=card, labels=names)
    stated_input = brought_along(architecture, stated_input=given(own)).input
    open_ = assumed_input(given(own), stated_input) if found is None else ""
    model = _made(parts, size_is_open="size" in open_)
    explanation = tried(model)
    contents: dict[str, bytes | Path] = {**sources}
    if names:
        contents[LABELS] = ("\n".join(names) + "\n").encode()
    contents[CARD] = card_text(card_of(model, stated, names)).encode()
    write_all(target, contents)
    facts = _facts(model, parts, explanation, names)
    if found is not None:
        facts["photos"] = found.words(len(model.labels))
    if open_:
        facts["assumed"] = open_
    return Added(target / CARD, reference_to(target, settings), facts, found)


def _lacking(checkpoint: str | Path) -> str:
    """The error text for a checkpoint that cannot be added without an architecture."""
    if kind_of(Path(checkpoint)) in (CHECKPOINT, None) and not Path(checkpoint).is_dir():
        return (
            f"{shown(str(checkpoint))} needs the architecture that it was trained with: give --architecture. Only "
            "hf:FOLDER, hf:OWNER/NAME, timm:hf-hub:OWNER/NAME and model files such as net.onnx need no architecture"
        )
    return what_to_do(checkpoint) or f"the folder {shown(str(checkpoint))} has no model in it; give a file of weights"


def _is_whole(source: str) -> bool:
    """Whether the source is a network with its weights, which needs no --architecture."""
    return repository_of(source) is not None or is_model_file(source)


def checked_name(name: str) -> str:
    """Return `name` if a model may have it. Raises OptionError."""
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"'{name}' cannot be a model's name: allowed are up to 100 letters, digits, dots, dashes and underscores, "
            "with a letter or digit first; give another name with --name"
        )
    if name in {path.parent.name for path in config.shipped("models").glob(f"*/{CARD}")}:
        raise OptionError(f"'{name}' is a model that comes with camserve; give another name with --name")
    return name


def _program(architecture: str) -> Path | None:
    """The file of the architecture; None if the architecture is in a package."""
    if not is_architecture(architecture):
        hint = of_source(architecture)
        raise OptionError(
            f"architecture '{architecture}' is none of: torchvision:NAME, timm:NAME, package.module:factory, "
            f"./net.py:factory{f'. {hint}' if hint else ''}"
        )
    return file_of(architecture, Path())


def folder_for(folder: Path | None, settings: config.Settings) -> Path:
    """The folder for the user's own models. Raises OptionError."""
    if folder is None and not settings.models.folders:
        raise OptionError("no folder for your own models is set (models.folders); give one with --folder")
    return folder or settings.models.folders[0]


def refuse_to_replace(target: Path, names: list[str], sources: dict[str, Path], force: bool) -> None:
    """Raise OutputError if a file would be replaced, unless `force`. A file to copy that already lies there is fine."""

    def is_other(name: str) -> bool:
        path = target / name
        return path.exists() and not (name in sources and sources[name].exists() and path.samefile(sources[name]))

    there = [name for name in names if is_other(name)]
    if there and not force:
        raise OutputError(
            f"'{target}' already has {', '.join(map(repr, there))}; --force replaces this, --name gives another name"
        )


def _made(parts: Parts, *, size_is_open: bool) -> Model:
    try:
        return Model(parts)
    except ModelError as error:
        if not size_is_open:
            raise
        raise ModelError(
            f"{error}. {parts.card.input.size} pixels are only the usual size: give the network's size with --size, or "
            "find it with --photos"
        ) from None


def tried(model: Model) -> Explanation:
    """Explain a picture of noise that is wider than high. Raises ModelError if the logits are not finite."""
    width, height = model.card.input.sides
    samples = model.card.input.samples
    noise = np.random.default_rng(0).integers(0, 256, (height, width * 4 // 3, samples), dtype=np.uint8)
    explanation = model.explain(noise)
    if not np.isfinite(explanation.logits).all():
        raise ModelError(
            f"'{model.name}' answers with values that are not finite: its weights are broken, or mean and "
            "std are not those of its training"
        )
    return explanation


def reference_to(target: Path, settings: config.Settings) -> str:
    """The model's name if camserve finds the model by its name, else its folder."""
    known = find_cards(settings.models).get(target.name)
    return target.name if known and known.samefile(target / CARD) else str(target)


def _weights(model: Model, parts: Parts) -> str:
    """The source of the weights, in words."""
    checkpoint, prefix = parts.checkpoint, parts.prefix
    if checkpoint is None:
        whole = repository_of(parts.card.architecture) or parts.card.architecture
        return f"{len(model.module.state_dict())} tensors of {whole}"
    within = f" under '{checkpoint.within}'" if checkpoint.within else ""
    taken = f", '{prefix}' removed from their names" if prefix else ""
    others = f" (also there: {listed(checkpoint.others)}; --key)" if checkpoint.others else ""
    return f"{len(checkpoint.tensors)} tensors of {checkpoint.file}{within}{taken}{others}"


def _facts(model: Model, parts: Parts, explanation: Explanation, labels: Sequence[str] | None) -> dict[str, str]:
    stride = explanation.placement.stride[0]
    named = labels or tuple(parts.found_labels or ()) == model.labels
    classes = ", ".join(model.labels[:5]) + (" ..." if len(model.labels) > 5 else "")
    exact = ", whose map adds up to the logit" if explanation.completeness is not None else ""
    own_head = f"; {taken_for}" if (taken_for := assumed(model.module)) else ""
    return {
        "weights": _weights(model, parts),
        "classes": f"{len(model.labels)}: {classes}" + ("" if named else " (no names: --labels FILE)"),
        "layer": f"{explanation.layer}, a cell every {stride:g} pixels",
        "head": f"{explanation.head}: explained by {explanation.method}{exact}{own_head}",
        "input": said_of(model.card.input),
    }
