"""By how much a photograph may be made smaller before the network sees it: where the setting images.draft is on."""

from camserve.catalogue.options import ExplainOptions
from camserve.images.arrays.drafts import Size, Smaller
from camserve.models.classifier import Classifier

# Pixels of the photograph that are left, along a side, for each of the network's input.
LEFT = 2


def drafting(model: Classifier, options: ExplainOptions) -> Smaller | None:
    """What says it of a photograph's size; None where it must be decoded in full.

    That is with images.draft off, at size "native", with sharp, and for cards that take bands or say how a picture is
    resized.
    """
    spec, settings = model.card.input, model.settings
    size = settings.explain.size if options.size is None else options.size
    sharp = settings.explain.sharp if options.sharp is None else options.sharp
    if not settings.images.draft or sharp or size == "native" or spec.of_bands is not None or spec.resize is not None:
        return None

    def smaller(photo: Size) -> float:
        seen = max(max(model.frame(photo, one).scale) for one in (size, "crop"))
        return 1 / (LEFT * seen)

    return smaller
