"""By how much a photograph may be made smaller before the network sees it, if the setting images.draft is on."""

from camserve.catalogue.options import ExplainOptions
from camserve.images.arrays.drafts import Size, Smaller
from camserve.models.classifier import Classifier

# Pixels of the smaller photograph, along a side, for each pixel of the network's input.
LEFT = 2


def drafting(model: Classifier, options: ExplainOptions) -> Smaller | None:
    """Return a function from a photograph's size to the factor; None if the photograph must be decoded in full.

    It must with images.draft off, at size "native", with sharp, and for cards that take bands or name a resize.
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
