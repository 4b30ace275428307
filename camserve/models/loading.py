"""From a card, an architecture with weights, or a module, to the parts of a model.

Torch is imported only if a network needs it. A model file that is explained in closed form does not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camserve import config
from camserve.catalogue.option_metadata import checked
from camserve.catalogue.options import ExplainOptions
from camserve.errors import ModelError, OptionError, shown
from camserve.models import card as cards
from camserve.models import output_names as outputs
from camserve.models.architectures.forms import is_architecture
from camserve.models.closed_parts import closed_parts, kept_parts
from camserve.models.compiled.model_file import saved_model
from camserve.models.describing import LabelsOfEach, check_options, described, given, name_for, names_by_output
from camserve.models.parts import CardSource, Parts

if TYPE_CHECKING:
    from torch import nn


def parts_of(
    source: "str | Path | nn.Module | None",
    *,
    labels: LabelsOfEach | None,
    layer: str | None,
    settings: config.Settings | None,
    own: Mapping[str, Any],
    output: outputs.Output | None = None,
) -> Parts:
    """The parts of the model that `camserve.load` makes.

    own: weights, key, scores, arguments and fields of `cards.Input`, if given.
    """
    settings = config.settings() if settings is None else settings
    if not isinstance(settings, config.Settings):
        raise OptionError(
            f"settings {shown(settings)} is not a Settings object; make one with camserve.config.load_settings"
        )
    source = settings.explain.model if source is None else source
    own = given(own)
    check_options(own)
    if not isinstance(source, str | Path):
        from torch import nn

        if isinstance(source, nn.Module):
            from camserve.models.assembling import from_module

            return from_module(source, {**own, "output": output}, names_by_output(labels), layer, settings)
        hint = ", but it may make one: call it" if callable(source) else ""
        raise OptionError(
            f"{shown(source)} is not a model{hint}; allowed are a card's name or path, an architecture such as "
            "'torchvision:resnet18', and an nn.Module"
        )
    source = saved_model(source)
    if is_architecture(str(source)):
        card = described(str(source), layer, {**own, "output": output})
        return _made(CardSource(card, Path(), name_for(card), names_by_output(labels), settings))
    path = cards.card_path(source, settings.models)
    if own:
        raise OptionError(
            f"{', '.join(own)}: the card states this itself; only an nn.Module or an architecture takes it here"
        )
    card = cards.read_card(path)
    if layer is not None:
        card = card.model_copy(update={"layer": checked(ExplainOptions, "layer", layer)})
    if labels is not None and output is not None:
        card = card.model_copy(update={"output": None})  # else the labels would be those of the card's output
    try:
        parts = _made(CardSource(card, path.parent, path.parent.name, names_by_output(labels), settings, path))
    except OptionError as error:  # for example, an unknown architecture
        raise ModelError(f"the card '{path}' is wrong: {error}") from None
    return parts._replace(output=output, has_layer=layer is not None)


def _made(source: CardSource) -> Parts:
    """The parts in closed form if possible, else as `assemble`."""
    if (closed := closed_parts(source)) is not None:
        return closed
    kept, place = kept_parts(source)
    if kept is not None:
        return kept
    from camserve.models.assembling import assemble

    return assemble(source)._replace(kept_at=place)
