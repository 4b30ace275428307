"""The card of an added model: its text, and its fields for the files beside it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camserve.model import Model
from camserve.models.architectures.hub_cache import files_in, pinned, repository_of
from camserve.models.card import Card
from camserve.models.compiled.model_file import files_of, is_model_file

LABELS = "labels.txt"


def card_text(card: Card) -> str:
    """The TOML text of a card, without default values; `read_card` reads the same card from it."""
    fields = card.model_dump(
        exclude_none=True, exclude_defaults=True, exclude={"input", "known", "arguments", "aliases", "zero_shot"}
    )
    if repository_of(card.architecture) is not None:
        fields["scores"] = card.scores  # the repository's own files may state other scores
    lines = ["# Written by `camserve add`. models/README.md says what else a card can hold.", ""]
    lines += [f"{key} = {_toml(value)}" for key, value in fields.items()]
    lines += ["", "[input]", *(f"{key} = {_toml(v)}" for key, v in card.input.model_dump(exclude_none=True).items())]
    words = card.zero_shot.model_dump(exclude_defaults=True) if card.zero_shot else {}
    for section, values in (("arguments", card.arguments), ("aliases", card.aliases), ("zero_shot", words)):
        if values:
            lines += ["", f"[{section}]", *(f"{_toml(key)} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A string, number, list or dict as TOML: like JSON, but with DEL escaped and another form of dicts."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def in_place(
    architecture: str, weights: str | None, program: Path | None, target: Path
) -> tuple[list[Path], dict[str, Any]]:
    """Return the files to copy, and the fields of the card when these files lie beside it."""
    if weights is not None:
        file, factory = Path(weights), architecture.rpartition(":")[2]
        stated = {"weights": file.name, "source": f"added from {file.name}"}
        return [file, *([program] if program else [])], {
            "architecture": f"{program.name}:{factory}" if program else architecture,
            **stated,
        }
    if is_model_file(architecture):
        whole = Path(architecture)
        return files_of(whole), {"architecture": whole.name, "source": f"added from {whole.name}"}
    repository = repository_of(architecture) or ""
    form, folder = architecture.removesuffix(repository), Path(repository)
    source = f"added from {folder.resolve().name if folder.is_dir() else repository}"
    if not folder.is_dir():
        return [], {"architecture": form + pinned(repository), "source": source}
    real, home = folder.resolve(), target.resolve()
    if real == home or real.parent == home.parent:
        return [], {"architecture": form + ("." if real == home else f"../{real.name}"), "source": source}
    return files_in(folder), {"architecture": f"{form}.", "source": source}


def card_of(model: Model, stated: dict[str, Any], labels: Sequence[str] | None) -> Card:
    """The model's card, with the files beside it in place of the original files."""
    has_file = "weights" in stated or is_model_file(stated["architecture"])
    sha256 = model.weights_sha256 if has_file and len(files_of(Path(model.card.architecture))) == 1 else None
    return model.card.model_copy(update={**stated, "sha256": sha256, "labels": LABELS if labels else None})
