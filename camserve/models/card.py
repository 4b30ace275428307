"""Model cards: a folder with a card.toml describes one model for camserve.

models/README.md is the guide for writing one.
"""

import os
import tomllib
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictInt, ValidationError, model_validator

from camserve.config.schema import Models, shipped
from camserve.config.validation_words import faults_of
from camserve.errors import ModelError, ModelNotFound, NotInstalled, first_line
from camserve.models.architectures.hub_cache import folder_of, repository_of
from camserve.models.architectures.other_kinds import what_to_do
from camserve.models.card_files import MOST_OF_CARD, check_model_folder, is_there, read_text, resolve_file
from camserve.models.card_input import IMAGENET_MEAN, IMAGENET_STD, WIDEST, Input, Part, Pixels, Resize, Share
from camserve.models.compiled.model_file import is_model_file

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Card", "Input", "Known", "Measured", "Resize", "resolve_file"]

CARD = "card.toml"
# Most parts of a key, with dots between them; cards have two.
_DEEPEST = 50
# Most characters of the error of a card in a list.
_LONGEST = 500
Edge = Annotated[float, Field(ge=0, le=1)]
Region = tuple[Edge, Edge, Edge, Edge]
Offset = Annotated[float, Field(ge=-WIDEST, le=WIDEST)]


class Known(Part):
    """A known answer of the model. It checks weights, input and labels together.

    image: a file beside the card or "package:NAME/path". label, score: of the predicted class. size: as in
    `Model.explain`.
    """

    image: str
    label: str
    score: Share
    size: Literal["fit", "crop", "native"] | Pixels = "crop"


class Measured(Part):
    """The place of a layer's cells, as `camserve calibrate` measured it.

    layer: the measured layer; cells of other layers are centred. offset: the input pixel (x, y) of the first cell, at
    the training size. measured: when, and how well.
    """

    layer: str
    offset: tuple[Offset, Offset]
    measured: str = "not stated"


class Sentences(Part):
    """The sentences of a model that compares images with sentences, the architecture "clip:FOLDER".

    labels: the sentences, instead of the file in the card's own `labels`. templates: prompts with {} in place of a
    sentence; their features are averaged.
    """

    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


class Card(Part):
    """One model: its network, weights, input and output.

    architecture: "torchvision:NAME", "timm:NAME", "package.module:factory"; or, beside the card, a file,
    "net.py:factory", a folder, "hf:FOLDER", or a model file such as "net.onnx", which contains its weights; see
    `camserve.models.architectures.by_name`. weights: a file beside the card, or "package:NAME/path" inside an installed
    package; see `camserve.models.weights.checkpoints`. key: which state dict of that file, if it holds several.
    sha256: of that file, or of the model file.
    install: the command to suggest if the package is missing. output: which part of the network's answer, if it has
    several: a name, "heads.colour" or an index. labels: a text file, one class a line, relative to the card; a table
    {output: file} for several outputs. aliases: more names of classes, {name: class's name}. layer: which layer to
    explain, a name of `camserve.graph.cut.layer_names`; default: camserve finds it. scores: how logits become scores;
    "none" if the outputs are numbers, such as an age, instead of logits of classes; "embedding" if they are features of
    the image, which describe what it looks like. zero_shot: for models whose classes are sentences. region: for
    segmentation and detection, the part of the input to explain: left, top, right, bottom as shares of its sides.
    arguments: inputs of forward besides images, the same for every picture; see `camserve.models.arguments`.
    """

    architecture: str
    weights: str | None = None
    key: str | None = None
    sha256: str | None = None
    licence: str = "not stated"
    source: str = "not stated"
    install: str | None = None
    output: str | StrictInt | None = None
    labels: str | dict[str, str] | None = None
    aliases: dict[str, str] = Field(default_factory=dict)
    layer: str | None = None
    scores: Literal["softmax", "sigmoid", "none", "embedding"] = "softmax"
    region: Region | None = None
    input: Input = Input()
    arguments: dict[str, Any] = Field(default_factory=dict)
    placement: Measured | None = None
    zero_shot: Sentences | None = None
    known: tuple[Known, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """Every file that the model needs, by its key: a program of the architecture, weights and labels."""
        program = self.architecture.rpartition(":")[0]
        labels = (
            {f"labels.{output}": file for output, file in self.labels.items()} if isinstance(self.labels, dict) else {}
        )
        found = {"weights": self.weights, "labels": self.labels if isinstance(self.labels, str) else None, **labels}
        if program.endswith(".py"):
            found["architecture"] = program
        elif is_model_file(self.architecture):
            found["architecture"] = self.architecture
        return {key: file for key, file in found.items() if file is not None}

    @model_validator(mode="after")
    def _a_region_has_an_inside(self) -> "Card":
        if self.region and not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise ValueError(
                f"region {list(self.region)} is not left, top, right, bottom as shares of the sides, 0 to 1"
            )
        return self

    @property
    def has_scores(self) -> bool:
        """Whether the model's answers are logits of classes."""
        return self.scores in ("softmax", "sigmoid")

    @model_validator(mode="after")
    def _no_known_numbers(self) -> "Card":
        if not self.has_scores and self.known:
            said = f"a known answer is a class with its score, and a model with scores = '{self.scores}' has no scores"
            raise ValueError(said)
        return self


def find_cards(models: Models, *, with_shipped: bool = True) -> dict[str, Path]:
    """{name: card.toml} of every folder in `models.folders` and of the shipped folder; the first of equal names wins.

    Includes folders that cannot be read, and a folder of cards that cannot be read, under its own name: `read_card`
    then says why.
    """
    found: dict[str, Path] = {}
    for folder in (*models.folders, *([shipped("models")] if with_shipped else [])):
        for path in _cards_in(folder):
            found.setdefault(_name(path), path)
    return found


def _name(path: Path) -> str:
    """The name of the folder, as text that every encoding can write; names of files may hold any bytes."""
    return os.fsencode(path.parent.name).decode("utf-8", "backslashreplace")


def _cards_in(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    except OSError:
        return [folder / CARD]
    return [path / CARD for path in inside if _may_be_there(path / CARD)]


def _may_be_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def card_path(source: str | Path, models: Models) -> Path:
    """The card.toml that `source` means: a card's name, its folder, or the file.

    Raises ModelNotFound, which says what to write for a name of another library; ModelError for a file of another kind,
    which says how to make a model from it.
    """
    cards = find_cards(models)
    if str(source) in cards:
        return cards[str(source)]
    if is_model_file(str(source)):
        raise ModelError(
            f"'{source}' is a model file, but a card is needed here: `camserve add {source}` makes a card of it"
        )
    path, is_card = Path(source), is_there(Path(source, CARD))
    hint = "" if is_card else what_to_do(source)
    if is_card or (is_there(path) and not hint):
        return path / CARD if is_card else path
    if is_there(path):
        raise ModelError(hint)
    from camserve.models.architectures.hints import of_source  # torch, which takes seconds

    raise ModelNotFound(str(source), cards, hint or of_source(str(source)))


def read_card(path: Path) -> Card:
    """Read and check one card. Raises ModelError with the file, the key, its value and what is allowed."""
    what = f"the card '{path}'"
    text = read_text(path, what, MOST_OF_CARD)
    if any(line.partition("=")[0].count(".") > _DEEPEST for line in text.splitlines()):  # tomllib would take minutes
        raise ModelError(f"{what} has a key of more than {_DEEPEST} parts")
    try:
        return Card.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise ModelError(f"{what} is wrong: {faults_of(error)}") from None
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: too many digits, too many brackets
        raise ModelError(f"{what} is not valid TOML: {first_line(error)}") from None


def check_files(path: Path, models: Models) -> Card:
    """Read the card at `path` and check its files. Raises ModelError if one cannot be read; NotInstalled."""
    card = read_card(path)
    resolve_files(card, path, models)
    return card


def resolve_files(card: Card, path: Path, models: Models) -> dict[str, Path]:
    """The files that the card at `path` needs, by their keys. Raises as `check_files`."""
    repository = repository_of(card.architecture)
    if repository is not None and folder_of(repository, path.parent) == path.parent / repository:
        check_model_folder(card.architecture, path.parent / repository, path, models.shared)
    return {key: resolve_file(file, path, models.shared, card.install, key=key) for key, file in card.files.items()}


class Seen(NamedTuple):
    """A card in a list. card: None if it cannot be read. available: whether its files exist.

    error: what is wrong with it, in one line; None if nothing is wrong, or if only a package is not installed.
    """

    card: Card | None
    available: bool
    error: str | None


def look_at(path: Path, models: Models) -> Seen:
    """What a list shows for the card at `path`. Raises nothing, so a bad card does not break the list."""
    card = None
    try:
        card = read_card(path)
        check_files(path, models)
    except NotInstalled:
        return Seen(card, False, None)
    except ModelError as error:
        said = str(error).encode("utf-8", "backslashreplace").decode()  # as in `_name`
        return Seen(card, False, shorten(said, _LONGEST, placeholder=" ..."))
    return Seen(card, True, None)
