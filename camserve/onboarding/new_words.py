"""Adds a model of images and sentences: a copy of it, the sentences and a card. It is tested before it is written."""

from collections.abc import Sequence
from pathlib import Path

from camserve import config
from camserve.errors import OptionError
from camserve.model import load
from camserve.models.architectures.zero_shot import PREFIX
from camserve.models.architectures.zero_shot_sources import place_of
from camserve.models.describing import Labels, names_of
from camserve.onboarding.new_card import LABELS, card_text
from camserve.onboarding.new_model import CARD, Added, checked_name, folder_for, reference_to, refuse_to_replace, tried
from camserve.system.files import write_all

# The folder of the model's own files, inside the folder of the card.
TOWERS = "towers"


def add_words(
    source: str,
    *,
    labels: Labels | None,
    settings: config.Settings,
    templates: Sequence[str] = (),
    name: str | None = None,
    folder: Path | None = None,
    layer: str | None = None,
    force: bool = False,
) -> Added:
    """Make FOLDER/NAME/ with a card, the sentences and a copy of the model's own files.

    source: "clip:FOLDER" or a name in the hub's cache; files in the cache stay there. Other arguments and errors: see
    `camserve.onboarding.new_model.add`.
    """
    names = names_of(labels)
    if names is None:
        raise OptionError(
            f"'{source}' compares images with sentences: give the sentences, one per line, with --labels FILE"
        )
    place = Path(place_of(source))
    target = folder_for(folder, settings) / checked_name(name or place.name)
    files = (
        {f"{TOWERS}/{file.name}": file for file in sorted(place.iterdir()) if file.is_file()} if place.is_dir() else {}
    )
    refuse_to_replace(target, [*files, CARD, LABELS], files, force)
    model = load(source, labels=names, templates=templates or None, layer=layer, settings=settings)
    made = tried(model)
    own = source.removeprefix(PREFIX).removesuffix(place_of(source))  # the part that names the library, if given
    card = model.card.model_copy(
        update={
            "architecture": f"{PREFIX}{own}{TOWERS}" if files else source,
            "source": f"added from {place.name}",
            "labels": LABELS,
            "layer": layer,
        }
    )
    contents: dict[str, bytes | Path] = {**files, LABELS: ("\n".join(names) + "\n").encode()}
    write_all(target, {**contents, CARD: card_text(card).encode()})
    facts = {
        "classes": f"{len(names)} sentences: {'; '.join(names[:3])}" + (" ..." if len(names) > 3 else ""),
        "layer": f"{made.layer}, a cell every {made.placement.stride[0]:g} pixels",
        "head": f"{made.head}: explained by {made.method}, minus the evidence for the other sentences",
    }
    return Added(target / CARD, reference_to(target, settings), facts)
