"""The options of an explanation and of its picture. Each option is declared once, here.

The Python API, the command line, HTTP and its description, batch and the tables of the documentation are made from the
fields of these classes. To add an option, add its field here, and use it where it has its effect; CONTRIBUTING.md says
where that may be. A line in the class's docstring adds only what the help does not say.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from camserve.catalogue.class_sentences import LONGEST_SENTENCE, MOST_SENTENCES, asked_sentences
from camserve.catalogue.colormaps import colours
from camserve.catalogue.methods import AUTO, QUANTITIES, find_method
from camserve.catalogue.option_metadata import about, option, settle
from camserve.catalogue.targets import TargetOption, is_photograph
from camserve.errors import UnknownName

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
O_contra = TypeVar("O_contra", contravariant=True)
R = TypeVar("R")
P = ParamSpec("P")

# In pixels of the input; no network has wider cells.
WIDEST_STRIDE = 65_535


def _known_method(name: str) -> None:
    if name != AUTO:
        find_method(name)


@dataclass(frozen=True, kw_only=True)
class Targeted:
    """Which class the explanation is about."""

    target: TargetOption = option(  # noqa: RUF009
        None,
        'class index or name; "a-b": what distinguishes a from b; "-a": evidence against a',
        int | str,
        unset="the predicted class",
        repeats=True,
        several_by="explain_classes",
        also=lambda value: callable(value) or is_photograph(value),
    )

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """How the answer is explained; None leaves the choice to the model's settings. Raises OptionError, UnknownName.

    method: a name of `camserve.methods.METHODS`, or "auto": cam if the head has class maps, else gradcam. layer: the
    maps of several layers, in a list or separated by commas, are fused. output: for a network with several outputs.
    size: "fit", "crop", "native" or a short side in pixels. output_stride: in input pixels. sharp: see
    `camserve.explain.sharp`. trust: see `camserve.metrics.trust`. quantity: one of QUANTITIES. expected: a target may
    name it, as in "predicted-expected". labels: see `camserve.catalogue.class_sentences`.
    """

    method: str | None = option(
        None,
        "explanation method: a name that `camserve methods` lists",
        str,
        unset="auto",
        settings=("explain.method",),
        see="methods.md",
        form="NAME",
        repeats=True,
        several_by="explain_methods",
        check=_known_method,
    )
    layer: str | Sequence[str] | None = option(
        None,
        "layer to explain, or several, as in a,b; `camserve layers` lists them",
        str,
        unset="the model's own",
        several=True,
    )
    output: str | int | None = option(
        None,
        "which output is explained, if the network has several: a name, a path such as heads.colour, or an index",
        int | str,
        unset="the model's own",
        see="python.md#several-outputs",
        repeats=True,
    )
    size: str | int | None = option(
        None,
        "what the network sees: fit, crop, native or a short side in pixels",
        int | str,
        unset="fit",
        settings=("explain.size",),
        see="geometry.md",
    )
    output_stride: int | None = option(
        None,
        "dilate the network so that its cells are this many input pixels apart, a divisor of the layer's stride",
        int,
        least=1,
        most=WIDEST_STRIDE,
        unit="pixels",
        unset="the layer's stride",
    )
    sharp: bool | None = option(
        None,
        "combine maps of several input sizes into one sharper map",
        bool,
        unset="off",
        settings=("explain.sharp",),
        see="geometry.md#sharp",
    )
    trust: bool = option(
        False,
        "test how far the map can be trusted: hide its hottest places and run the model 6 more times",
        bool,
        see="trust.md",
    )
    quantity: str | None = option(
        None,
        "quantity of the class to explain: its logit; log-softmax, which also counts evidence for other classes; or "
        "contrast, its logit minus the mean logit of all other classes",
        str,
        choices=QUANTITIES,
        unset="logit; contrast if the classes are sentences",
    )
    expected: int | str | None = option(
        None,
        "index or name of the class that the image shows, to compare it with the predicted class",
        int | str,
        unset="unknown",
    )
    labels: str | Sequence[str] | None = option(
        None,
        "other sentences as classes, for a model that compares images with sentences: separated by semicolons, or one "
        "per line",
        str,
        unset="the model's own",
        see="words.md",
        several=True,
        check=asked_sentences,
        longest=MOST_SENTENCES * (LONGEST_SENTENCE + 2),
    )

    def __post_init__(self) -> None:
        settle(self)
        if self.labels is not None:
            object.__setattr__(self, "labels", asked_sentences(self.labels))

    @property
    def layers(self) -> tuple[str | None, ...]:
        """The chosen layers; None stands for the model's own layer."""
        if isinstance(self.layer, str):
            return tuple(name.strip() for name in self.layer.split(","))
        return tuple(self.layer) if self.layer else (None,)


@dataclass(frozen=True, kw_only=True)
class OverlayOptions:
    """How a map is drawn over its photograph; None leaves the choice to the model's settings.

    alpha: opacity of the hottest places, 0..1; cold places show the photograph. colormap: a name of the cmap catalogue.
    contour, boxes: draw an outline, or boxes, around heat of at least that share of the maximum. legend: a colour bar
    with class, score and the values of its ends; a photograph whose long side is less than 256 pixels is then enlarged
    by a whole number. signed: also show evidence against the class, in other colours, transparent at 0. smooth: see
    `camserve.geometry.smoothing`. grey: draw the photograph without its own colours. scale: the value of the last
    colour, in the map's unit, so that pictures compare; see `camserve.explanation.common_scale`.
    Raises OptionError, UnknownName.
    """

    alpha: float | None = option(
        None,
        "opacity of the hottest places",
        float,
        least=0,
        most=1,
        unset="0.8",
        settings=("render.alpha",),
    )
    colormap: str | None = option(
        None,
        "any name of the cmap catalogue",
        str,
        unset="inferno",
        settings=("render.colormap", "render.signed_colormap"),
        check=colours,
    )
    contour: float | None = option(
        None, "draw an outline around heat of at least this share of the maximum", float, least=0, most=1, switch=True
    )
    boxes: float | None = option(
        None, "draw boxes around heat of at least this share of the maximum", float, least=0, most=1, switch=True
    )
    legend: bool = option(
        False, "draw a colour bar with class, score and numbers; this enlarges small photographs", bool
    )
    signed: bool = option(False, "also show evidence against the class", bool, see="comparing.md")
    smooth: bool | None = option(
        None,
        "draw the map smoothly between its cells; at the centres of cells its values stay exact",
        bool,
        unset="on",
        settings=("render.smooth",),
    )
    min_side: int | None = option(
        None,
        "enlarge a smaller photograph by a whole number, until its long side has at least this many pixels",
        int,
        least=1,
        most=1024,
        unit="pixels",
        unset="no enlargement",
    )
    grey: bool = option(False, "draw the photograph in grey, so that its own colours do not look like heat", bool)
    scale: float | None = option(
        None,
        "value of the last colour, in the unit of the map; pictures with the same scale can be compared",
        float,
        above=0,
        unset="the map's own maximum",
        see="comparing.md",
    )

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, kw_only=True)
class Questioned:
    """More questions about a map, for the command line and HTTP; see `camserve.catalogue.questions`."""

    threshold: float | None = option(
        None,
        "masks, boxes and polygons contain heat of at least this share of the maximum",
        float,
        least=0,
        most=1,
        unset="0.5",
        settings=("render.threshold",),
    )
    at: tuple[str, ...] = option((), "report which classes this pixel votes for", str, form="X,Y", repeats=True)
    region: tuple[str, ...] = option(
        (), "report how much these pixels add to the logit", str, form="L,T,R,B", repeats=True, see="regions.md"
    )
    polygons: bool = option(False, "add outlines of the heat to the JSON, as GeoJSON", bool, see="regions.md")


class takes(Generic[P, O_contra]):
    """A decorator: the method takes the options of a class as keywords, in place of its last parameter.

    Editors and mypy see the keywords, and the docstring gets a line for each option. The method raises UnknownName for
    a keyword that is not an option.
    """

    def __init__(self, options: Callable[P, O_contra]) -> None:
        self._options: Callable[..., O_contra] = options

    @overload
    def __call__(self, method: Callable[[S, O_contra], R]) -> Callable[Concatenate[S, P], R]: ...

    @overload
    def __call__(self, method: Callable[[S, A, O_contra], R]) -> Callable[Concatenate[S, A, P], R]: ...

    @overload
    def __call__(self, method: Callable[[S, A, B, O_contra], R]) -> Callable[Concatenate[S, A, B, P], R]: ...

    def __call__(self, method: Callable[..., R]) -> Callable[..., R]:
        """Return the method that takes keywords."""
        own = inspect.signature(method)
        *before, last = own.parameters.values()
        names, taken = [one.name for one in before], inspect.signature(self._options).parameters

        @wraps(method)
        def called(*given: Any, **keywords: Any) -> R:
            others = {name: keywords.pop(name) for name in names if name in keywords}
            for name in keywords.keys() - taken.keys():
                raise UnknownName("option", name, taken)
            own, more = given[: len(names)], given[len(names) :]
            return method(*own, **others, **{last.name: self._options(*more, **keywords)})

        called.__signature__ = own.replace(parameters=[*before, *taken.values()])  # type: ignore[attr-defined]
        called.__doc__ = _with_options(method.__doc__, self._options)
        return called


def _with_options(said: str | None, options: Any) -> str:
    """The docstring, with a line for each option added below it."""
    lines = []
    for name, (one, default) in about(options).items():
        among = f" One of {', '.join(one.choices)}." if one.choices else ""
        lines.append(f"    {name}: {one.line(default)}{among}")
    return "\n".join([inspect.cleandoc(said or ""), "", "Options:", *lines])
