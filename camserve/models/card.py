"""Model cards: a folder with a card.toml says everything camserve must know about one model.

models/README.md is the guide for writing one.
"""

import hashlib
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, StrictInt, ValidationError, model_validator

from camserve.config.schema import Models, shipped
from camserve.errors import ModelError, ModelNotFound
from camserve.models.card_input import IMAGENET_MEAN, IMAGENET_STD, Input, Part, Pixels, Share

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Card", "Input", "Known", "Measured"]


class Known(Part):
    """An answer that the model is known to give: a check of weights, input and labels together.

    image: a file beside the card or "package:NAME/path". label, score: of the predicted class. size: as for
    `Model.explain`.
    """

    image: str
    label: str
    score: Share
    size: Literal["fit", "crop", "native"] | Pixels = "crop"


class Measured(Part):
    """Where the cells of a layer sit, as `camserve calibrate` found and wrote it.

    layer: the one it was measured at; others are centred. offset: the input pixel (x, y) of its first cell, at the
    size trained at. measured: when and how well.
    """

    layer: str
    offset: tuple[FiniteFloat, FiniteFloat]
    measured: str = "not stated"


class Card(Part):
    """One model: its network, weights, input and output.

    architecture: "torchvision:NAME", "timm:NAME", "package.module:factory" or "net.py:factory", the file beside the
    card; see `camserve.models.architectures.by_name`. weights: a file beside the card, or "package:NAME/path" inside an
    installed package; see `camserve.models.checkpoints`. key: which state dict of that file, where it holds several.
    sha256: of that file.
    install: the command to offer where the package is missing. output: which part of the network's answer, where it has
    several: a name, "heads.colour" or an index. labels: a text file, one class a line, relative to the card; a table
    {output: file} for several outputs. aliases: more names of classes, {name: class's name}. layer: where to look, as
    `camserve.graph.cut.layer_names` lists; default: found by itself. scores: how logits become scores; "none" where
    they are no classes' logits but numbers, such as an age. arguments: what forward gets besides images, the same for
    every picture; see `camserve.models.arguments`.
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
    scores: Literal["softmax", "sigmoid", "none"] = "softmax"
    input: Input = Input()
    arguments: dict[str, Any] = Field(default_factory=dict)
    placement: Measured | None = None
    known: tuple[Known, ...] = ()

    @property
    def label_files(self) -> tuple[str, ...]:
        """Every file of labels."""
        if self.labels is None:
            return ()
        return (self.labels,) if isinstance(self.labels, str) else tuple(self.labels.values())

    @model_validator(mode="after")
    def _no_known_numbers(self) -> "Card":
        if self.scores == "none" and self.known:
            raise ValueError("a known answer is a class with its score, and a model with scores = 'none' has no scores")
        return self

    def available(self, path: Path) -> bool:
        """Whether the weights are there; `path` is the card's own."""
        try:
            return self.weights is None or resolve_file(self.weights, path).is_file()
        except ModelError:
            return False


def find_cards(models: Models, *, with_shipped: bool = True) -> dict[str, Path]:
    """{name: card.toml} of every folder in `models.folders` and of the shipped ones; the first of a name wins."""
    found: dict[str, Path] = {}
    for folder in (*models.folders, *([shipped("models")] if with_shipped else [])):
        for path in sorted(folder.glob("*/card.toml")):
            found.setdefault(path.parent.name, path)
    return found


def card_path(source: str | Path, models: Models) -> Path:
    """The card.toml that `source` means: a card's name, its folder, or the file. Raises ModelNotFound."""
    cards = find_cards(models)
    if str(source) in cards:
        return cards[str(source)]
    path = Path(source)
    for candidate in (path, path / "card.toml"):
        if candidate.is_file():
            return candidate
    raise ModelNotFound(str(source), cards)


def read_card(path: Path) -> Card:
    """Read and check one card. Raises ModelError that names the file, the key and what is allowed."""
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(f"cannot read the card '{path}': {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"the card '{path}' is not valid TOML: {error}") from None
    except ValidationError as error:
        raise ModelError(f"the card '{path}' is wrong: {problems(error)}") from None


def check_files(path: Path) -> None:
    """Raises ModelError where the card at `path` cannot be read, or its weights or labels are not there."""
    card = read_card(path)
    for file in (card.weights, *card.label_files):
        if file is not None:
            resolve_file(file, path, card.install)


def problems(error: ValidationError) -> str:
    """What a card's or an input's keys are blamed for, in one line."""
    return "; ".join(": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())


def resolve_file(reference: str, card: Path, install: str | None = None) -> Path:
    """The file that a card's `weights`, `labels` or `image` means. Raises ModelError saying how to get it."""
    if not reference.startswith("package:"):
        path = card.parent / reference
    else:
        package, _, inside = reference.removeprefix("package:").partition("/")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            how = install or f"pip install {package}"
            raise ModelError(f"'{card.parent.name}' needs the package '{package}', which is not installed: {how}")
        path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise ModelError(f"'{card.parent.name}' needs the file '{path}', which does not exist")
    return path


def read_labels(path: Path) -> tuple[str, ...]:
    """The class names, one a line in the order of the logits; empty lines at the end do not count."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of some systems begin a file with a mark
    except UnicodeDecodeError:
        raise ModelError(f"the labels '{path.name}' are not UTF-8 text with one class name a line") from None
    except OSError as error:
        raise ModelError(f"cannot read the labels '{path}': {error.strerror}") from None
    return tuple(line.strip() for line in text.rstrip().splitlines())


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's SHA-256. Raises ModelError where a card states another."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and actual != expected.lower():
        raise ModelError(
            f"'{path.name}' has sha256 {actual}, but the card states {expected}: the file is damaged or another "
            "one. Install it anew, or correct the card if the change is meant."
        )
    return actual
