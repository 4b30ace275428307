"""One photograph, several methods, classes or outputs: what each shows, what it took, and why some show nothing."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from camserve.catalogue.methods import AUTO, METHODS, PATIENCE, family_of, find_method, methods_in_order
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Above, TargetOption
from camserve.errors import DeadlinePassed, OptionError, shown
from camserve.explain.pipeline import DEFAULTS, RUN, explain, explain_classes, open_photo
from camserve.explain.run import Run
from camserve.explanation.contact_sheet import Entry, class_entries, folder_names, output_entry
from camserve.explanation.explanation import Explanation
from camserve.explanation.several import Explanations
from camserve.images.reading import Photo, Source
from camserve.models.classifier import Classifier


def explain_methods(
    model: Classifier,
    image: Source | Photo,
    methods: object,
    target: TargetOption = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> Explanations:
    """One explanation a method, in that order: a list that shows as a sheet.

    methods: a list of names, "cam,rise", or "all". A method that is named and does not go with the model is an
    OptionError; of "all" such a method is left out. run: its deadline is that of each method, 60 s of "all"; what
    would take longer is left out. Raises as `explain`.
    """
    names = methods_in_order(methods)
    if options.method is not None:
        raise OptionError(f"methods and method {shown(options.method)} both say how it is explained: give one of them")
    photo = image if isinstance(image, Photo) else open_photo(model, image)
    if names == tuple(METHODS) and run.deadline is None:
        run = replace(run, deadline=PATIENCE)
    expected = None
    if run.deadline is not None:
        from camserve.explain.estimate import estimate  # torch

        expected = estimate(model, photo, options, run)
    entries = []
    for entry in compare_methods(model, photo, names, target, options, run, expected):
        if entry.cause is not None and names != tuple(METHODS):
            raise entry.cause
        entries.append(entry)
    return Explanations.of(entries)


def compare_methods(
    model: Classifier,
    photo: Photo,
    methods: Iterable[str],
    target: TargetOption = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
    expected: Mapping[str, float] | None = None,
) -> Iterator[Entry]:
    """Each method's explanation of one photograph, one after another.

    options: their method is not looked at. run: its deadline is that of each method, which is given up then. expected:
    the seconds that methods take, of `camserve.explain.estimate`: what takes longer than the deadline is not begun. A
    method that does not go with this model, head or layer, was not begun or was given up, has an entry with the reason.
    Raises what is wrong with the rest of the options, whatever the method.
    """
    model = model.of_output(options.output).of_labels(options.labels)
    for name in methods:
        takes = (expected or {}).get(name, 0.0)
        if run.deadline is not None and takes > run.deadline:
            yield _left_out(name, f"about {_seconds(takes)}, not begun: the limit is {run.deadline:g} s")
            continue
        start = time.perf_counter()
        try:
            made = explain(model, photo, target, replace(options, method=name), run)
        except DeadlinePassed:
            yield _left_out(name, f"given up after {run.deadline:g} s: it costs {find_method(name).cost}")
        except OptionError as error:
            plain = replace(options, method=AUTO, sharp=False)
            explain(model, photo, target, plain, replace(run, deadline=None))  # raises what no method could do with
            yield replace(_left_out(name, str(error)), cause=error)
        else:
            seconds = time.perf_counter() - start
            yield Entry(name, _title(name), family_of(name), f"{_seconds(seconds)}, {_cost(model, made)}", made)


def compare_classes(
    model: Classifier,
    photo: Photo,
    targets: int | Above | Sequence[TargetOption],
    options: ExplainOptions,
    run: Run = RUN,
) -> Iterator[Entry]:
    """The explanation of each class, from one forward pass. Raises OptionError, UnknownName."""
    yield from class_entries(explain_classes(model, photo, targets, options, run))


def compare_outputs(
    model: Classifier,
    photo: Photo,
    outputs: Iterable[str],
    target: TargetOption = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> Iterator[Entry]:
    """The explanation of each output of a network with several, one after another. Raises OptionError, UnknownName."""
    several = dict.fromkeys(model.of_output(name).output or "" for name in outputs)
    for name, folder in zip(several, folder_names(several), strict=True):
        yield output_entry(folder, explain(model, photo, target, replace(options, output=name), run))


def _left_out(name: str, reason: str) -> Entry:
    return Entry(name, _title(name), family_of(name), reason=reason)


def _title(name: str) -> str:
    return METHODS[name].title if name in METHODS else "Automatic"


def _cost(model: Classifier, made: Explanation) -> str:
    """What the registry says, with this layer's channels and cells for K and h w."""
    layer = model.layer(made.layers[0], made.output_stride)
    channels, (width, height) = model.layers()[layer.name][0], made.placement.grid
    return METHODS[made.method].cost.counted(channels, width * height, layer.head.kind)


def _seconds(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
