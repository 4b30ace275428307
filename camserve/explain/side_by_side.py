"""Explain one photograph with several methods, classes or outputs: the map, the time, or why a method was left out."""

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
    """Explain one image with several methods, in their order; a notebook shows the list as a sheet.

    methods: a list of names, "cam,rise", or "all". A named method that does not work with the model raises OptionError;
    "all" leaves such methods out. run: its deadline holds for each method, 60 s for "all"; a method that needs longer
    is left out. Raises the errors of `explain`.
    """
    names = methods_in_order(methods)
    if options.method is not None:
        raise OptionError(f"both methods and method {shown(options.method)} are given: give only one of them")
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
    """Explain one photograph with one method after another.

    options: their method is ignored. run: its deadline holds for each method; a method is stopped at the deadline.
    expected: the seconds that methods take, from `camserve.explain.estimate`: a method that needs longer than the
    deadline is not started. The entry of a method that was not started, was stopped, or does not work with this model,
    head or layer has the reason. Raises the errors of options that are wrong for every method.
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
            yield _left_out(name, f"stopped after {run.deadline:g} s: it costs {find_method(name).cost}")
        except OptionError as error:
            plain = replace(options, method=AUTO, sharp=False)
            explain(model, photo, target, plain, replace(run, deadline=None))  # raises errors that no method avoids
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
    """Explain each class, all from one forward pass. Raises OptionError, UnknownName."""
    yield from class_entries(explain_classes(model, photo, targets, options, run))


def compare_outputs(
    model: Classifier,
    photo: Photo,
    outputs: Iterable[str],
    target: TargetOption = None,
    options: ExplainOptions = DEFAULTS,
    run: Run = RUN,
) -> Iterator[Entry]:
    """Explain one output of a network after another. Raises OptionError, UnknownName."""
    several = dict.fromkeys(model.of_output(name).output or "" for name in outputs)
    for name, folder in zip(several, folder_names(several), strict=True):
        yield output_entry(folder, explain(model, photo, target, replace(options, output=name), run))


def _left_out(name: str, reason: str) -> Entry:
    return Entry(name, _title(name), family_of(name), reason=reason)


def _title(name: str) -> str:
    return METHODS[name].title if name in METHODS else "Automatic"


def _cost(model: Classifier, made: Explanation) -> str:
    """Return the method's cost from the registry, with this layer's channels and cells for K and h w."""
    layer = model.layer(made.layers[0], made.output_stride)
    channels, (width, height) = model.layers()[layer.name][0], made.placement.grid
    return METHODS[made.method].cost.counted(channels, width * height, layer.head.kind)


def _seconds(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
