"""What a network shows of one photograph: one pass for each layer, and several with the option sharp."""

from functools import partial

from camserve.catalogue.options import ExplainOptions
from camserve.explain.attributing import Seen
from camserve.explain.closed_form import Targets
from camserve.explain.observation import observe
from camserve.explain.run import Run
from camserve.explain.sharp import sharpen
from camserve.geometry.frame import Frame
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier
from camserve.models.inputs.preprocessing import to_input


def seen_by_network(
    model: Classifier,
    photo: Photo,
    frame: Frame,
    own: Frame | None,
    targets: Targets,
    options: ExplainOptions,
    run: Run,
    expected: int | None,
) -> Seen:
    """Observe each target in each layer. own: the frame whose logits decide which classes are best. expected: the class
    that the photograph shows, if known.
    """
    input_of = partial(to_input, photo, spec=model.card.input)
    pixels = input_of(frame)
    decided = None if own is None else run.forward(model.layer(), input_of(own))[2][0].cpu().numpy()
    by_layer = [observe(model, pixels, targets, layer, options, run, decided, expected) for layer in options.layers]
    by_target = [list(one) for one in zip(*by_layer, strict=True)]
    if not options.sharp:
        return Seen(by_target, decided)
    combined = sharpen(model, frame, input_of, by_target, options.output_stride, run.progress)
    return Seen(by_target, decided, combined)
