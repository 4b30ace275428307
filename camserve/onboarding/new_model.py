"""Adding a model: from a checkpoint to a folder with a card, tried out before anything is written."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camserve import config
from camserve.errors import ModelError, OptionError, OutputError
from camserve.explanation.explanation import Explanation
from camserve.methods.evidence import Progress
from camserve.model import Model
from camserve.models.architectures.by_name import defaults_of, is_architecture
from camserve.models.architectures.factories import file_of
from camserve.models.card import Card, find_cards
from camserve.models.checkpoints import listed
from camserve.models.classifier import Parts
from camserve.models.loading import Labels, assemble, described, given, names_of
from camserve.models.own_heads import assumed
from camserve.onboarding.finding_input import Found, assumed_input, find_input, said_of
from camserve.system.files import write_all

CARD, LABELS = "card.toml", "labels.txt"
# Also a name for a web address and on any file system; no separator, so it stays in its folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Added:
    """A model that has been added.

    card: its file. reference: what `--model` takes. facts: what was found, in words. found: its input, where
    photographs told it.
    """

    card: Path
    reference: str
    facts: dict[str, str]
    found: Found | None = None


def add(
    checkpoint: Path,
    architecture: str,
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
    """Make FOLDER/NAME/ with a card, the weights, the labels and the file of the architecture, if it is one.

    The model is loaded and explains one picture first; where that fails, nothing is written. architecture, labels,
    layer, own: as for `camserve.load`. name: default the checkpoint's without its ending. folder: default the first
    of `models.folders`. force: replace files that are there. photos: labelled photographs, which tell what is not
    given of the input, see `find_input`; progress: told how far that is.
    Raises OptionError, OutputError where there is such a model already, and what `camserve.load` raises.
    """
    target = _folder(folder, settings) / _checked(name or checkpoint.stem)
    names, program = names_of(labels), _program(architecture)
    sources = {path.name: path for path in (checkpoint, program) if path is not None}
    _refuse_to_replace(target, [*sources, CARD, *([LABELS] if names or photos else [])], sources, force)
    card = described(architecture, layer, {"weights": checkpoint, **own})
    parts = assemble(card, Path(), target.name, names, settings)
    found = None if photos is None else find_input(parts, photos, given(own), progress)
    if found is not None:
        names = found.labels
        card = parts.card.model_copy(update={"input": found.best.input})
        parts = parts._replace(card=card, labels=names)
    model = Model(parts)
    explanation = _tried(model)
    contents: dict[str, bytes | Path] = {**sources}
    if names:
        contents[LABELS] = ("\n".join(names) + "\n").encode()
    contents[CARD] = card_text(_card(model, checkpoint, program, names)).encode()
    write_all(target, contents)
    facts = _facts(model, parts, explanation, names)
    if found is not None:
        facts["photos"] = found.words(len(model.labels))
    elif open_ := assumed_input(given(own), defaults_of(architecture)):
        facts["assumed"] = open_
    return Added(target / CARD, _reference(target, settings), facts, found)


def card_text(card: Card) -> str:
    """The TOML of a card, without what is as by default; `read_card` reads the same card from it."""
    fields = card.model_dump(
        exclude_none=True, exclude_defaults=True, exclude={"input", "known", "arguments", "aliases"}
    )
    lines = ["# Written by `camserve add`. models/README.md says what else a card can hold.", ""]
    lines += [f"{key} = {_toml(value)}" for key, value in fields.items()]
    lines += ["", "[input]", *(f"{key} = {_toml(v)}" for key, v in card.input.model_dump(exclude_none=True).items())]
    for section, values in (("arguments", card.arguments), ("aliases", card.aliases)):
        if values:
            lines += ["", f"[{section}]", *(f"{_toml(key)} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A string, number or list: JSON but for one character that TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"'{name}' cannot be a model's name: up to 100 letters, digits, dots, dashes and underscores, a letter or "
            "digit first; give another with --name"
        )
    if name in {path.parent.name for path in config.shipped("models").glob(f"*/{CARD}")}:
        raise OptionError(f"'{name}' is a model that camserve brings; give another name with --name")
    return name


def _program(architecture: str) -> Path | None:
    """The file that the architecture is in, None for one of a package."""
    if not is_architecture(architecture):
        raise OptionError(
            f"architecture '{architecture}' is none of: torchvision:NAME, timm:NAME, package.module:factory, "
            "./net.py:factory"
        )
    return file_of(architecture, Path())


def _folder(folder: Path | None, settings: config.Settings) -> Path:
    if folder is None and not settings.models.folders:
        raise OptionError("no folder for models of your own is set (models.folders); give one with --folder")
    return folder or settings.models.folders[0]


def _refuse_to_replace(target: Path, names: list[str], sources: dict[str, Path], force: bool) -> None:
    """A file that is in its place already, as where a folder was begun by hand, is not replaced."""

    def is_other(name: str) -> bool:
        path = target / name
        return path.exists() and not (name in sources and sources[name].exists() and path.samefile(sources[name]))

    there = [name for name in names if is_other(name)]
    if there and not force:
        raise OutputError(
            f"'{target}' has {', '.join(map(repr, there))} already; --force replaces that, --name gives another name"
        )


def _tried(model: Model) -> Explanation:
    """One explanation, of a picture of noise that is wider than high. Raises ModelError where it is not finite."""
    width, height = model.card.input.sides
    samples = model.card.input.samples
    noise = np.random.default_rng(0).integers(0, 256, (height, width * 4 // 3, samples), dtype=np.uint8)
    explanation = model.explain(noise)
    if not np.isfinite(explanation.logits).all():
        raise ModelError(
            f"'{model.name}' answers with values that are not finite: its weights are broken, or mean and "
            "std are not those it was trained with"
        )
    return explanation


def _card(model: Model, checkpoint: Path, program: Path | None, labels: Sequence[str] | None) -> Card:
    """The model's card, with files beside it in place of those it was made from."""
    own = model.card
    factory = own.architecture.rpartition(":")[2]
    changes = {
        "architecture": f"{program.name}:{factory}" if program else own.architecture,
        "weights": checkpoint.name,
        "sha256": model.weights_sha256,
        "source": f"added from {checkpoint.name}",
        "labels": LABELS if labels else None,
    }
    return own.model_copy(update=changes)


def _reference(target: Path, settings: config.Settings) -> str:
    """The model's name where camserve finds it by that, else its folder."""
    known = find_cards(settings.models).get(target.name)
    return target.name if known and known.samefile(target / CARD) else str(target)


def _facts(model: Model, parts: Parts, explanation: Explanation, labels: Sequence[str] | None) -> dict[str, str]:
    checkpoint, prefix = parts.checkpoint, parts.prefix
    assert checkpoint is not None  # there is none without weights
    stride = explanation.placement.stride[0]
    within = f" under '{checkpoint.within}'" if checkpoint.within else ""
    taken = f", '{prefix}' taken off their names" if prefix else ""
    others = f" (also there: {listed(checkpoint.others)}; --key)" if checkpoint.others else ""
    named = labels or tuple(parts.found_labels or ()) == model.labels
    classes = ", ".join(model.labels[:5]) + (" ..." if len(model.labels) > 5 else "")
    exact = ", whose map adds up to the logit" if explanation.completeness is not None else ""
    own_head = f"; {taken_for}" if (taken_for := assumed(model.module)) else ""
    return {
        "weights": f"{len(checkpoint.tensors)} tensors of {checkpoint.file}{within}{taken}{others}",
        "classes": f"{len(model.labels)}: {classes}" + ("" if named else " (no names: --labels FILE)"),
        "layer": f"{explanation.layer}, a cell every {stride:g} pixels",
        "head": f"{explanation.head}: explained by {explanation.method}{exact}{own_head}",
        "input": said_of(model.card.input),
    }
