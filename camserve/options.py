"""What may be asked of a model, and how the answer is drawn: each option once.

The Python API, the command line, HTTP and its description, batch and the tables of the documentation are made of the
fields of these classes. To add an option, add its field here, and use it where it has its effect.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from camserve.methods import AUTO, QUANTITIES, find_method
from camserve.targets import TargetOption

T = TypeVar("T")
S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
O_contra = TypeVar("O_contra", contravariant=True)
R = TypeVar("R")
P = ParamSpec("P")

# Pixels of input; no network has wider cells.
WIDEST_STRIDE = 65_535


@dataclass(frozen=True)
class About:
    """One option, for people and for doors that speak text.

    help: one line. wire: its type where it comes as text or JSON. choices: all values there are. least, most: the
    range, both ends in it; above: the least value, not in it. repeats: whether the command line takes several.
    switch: whether HTTP also takes on and off, on for the settings' threshold. check: raises OptionError for a value
    that is none.
    """

    help: str
    wire: Any
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    repeats: bool = False
    switch: bool = False
    check: Callable[[Any], object] | None = None


def _option(default: T, help: str, wire: Any, **more: Any) -> T:
    made: T = field(default=default, metadata={"about": About(help, wire, **more)})
    return made


def about(options: type) -> dict[str, tuple[About, Any]]:
    """What is known of each field of a class of options, and its default, by name and in order."""
    return {one.name: (one.metadata["about"], one.default) for one in fields(options) if "about" in one.metadata}


def _known_method(name: str) -> None:
    if name != AUTO:
        find_method(name)


def _known_colours(name: str) -> None:
    from camserve.painting import colours  # with numpy and Pillow, which `--help` does without

    colours(name)


@dataclass(frozen=True, kw_only=True)
class Targeted:
    """What of the answer is explained."""

    target: TargetOption = _option(  # noqa: RUF009
        None, 'class index or name, "a-b", or "-a"; default: the predicted class', int | str, repeats=True
    )


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """How it is explained; None leaves the choice to the model's settings.

    method: a name of `camserve.methods.METHODS`, or "auto": cam where the head has a class map, else gradcam. layer:
    several, in a list or separated by commas, are fused. size: "fit", "crop", "native" or a short side in pixels.
    output_stride: in input pixels. sharp: see `camserve.sharp`. quantity: "logit" or "log-softmax".
    """

    method: str | None = _option(None, "see `camserve methods`; default: auto", str, repeats=True, check=_known_method)
    layer: str | Sequence[str] | None = _option(
        None, "layer to look at, or several, as in a,b; default: the model's own", str
    )
    size: str | int | None = _option(None, "fit, crop, native or a short side in pixels; default: fit", int | str)
    output_stride: int | None = _option(
        None, "dilate the network to a cell every so many input pixels", int, least=1, most=WIDEST_STRIDE
    )
    sharp: bool | None = _option(None, "one map of several sizes, mirrored too", bool)
    quantity: str = _option(QUANTITIES[0], "of the class; default: logit", str, choices=QUANTITIES)

    @property
    def layers(self) -> tuple[str | None, ...]:
        """The layers asked for; None is the model's own."""
        if isinstance(self.layer, str):
            return tuple(name.strip() for name in self.layer.split(","))
        return tuple(self.layer) if self.layer else (None,)


@dataclass(frozen=True, kw_only=True)
class OverlayOptions:
    """How a map is drawn over its photograph; None leaves the choice to the model's settings.

    alpha: opacity of the hottest places, 0..1; cold ones stay the photograph. colormap: a name of the cmap catalogue.
    contour, boxes: draw the outline, or boxes, of heat of at least that share of the maximum. legend: a colour bar
    with class, score and the values of its ends. signed: also what speaks against the class, in colours of their own,
    clear at 0. scale: the value of the last colour, in the map's unit, so that pictures compare; see
    `camserve.scales.common_scale`.
    """

    alpha: float | None = _option(None, "opacity of the hottest places, 0 to 1", float, least=0, most=1)
    colormap: str | None = _option(None, "any name of the cmap catalogue; default: inferno", str, check=_known_colours)
    contour: float | None = _option(
        None, "outline heat of at least this share of the maximum", float, least=0, most=1, switch=True
    )
    boxes: float | None = _option(
        None, "box heat of at least this share of the maximum", float, least=0, most=1, switch=True
    )
    legend: bool = _option(False, "draw a colour bar with class, score and numbers", bool)
    signed: bool = _option(False, "show what speaks against the class, too", bool)
    scale: float | None = _option(
        None, "value of the last colour, in logits where the map is: for comparing", float, above=0
    )


class takes(Generic[P, O_contra]):
    """Gives a method the keywords of a class of options in place of its last parameter, for editors and mypy too."""

    def __init__(self, options: Callable[P, O_contra]) -> None:
        self._options: Callable[..., O_contra] = options

    @overload
    def __call__(self, method: Callable[[S, O_contra], R]) -> Callable[Concatenate[S, P], R]: ...

    @overload
    def __call__(self, method: Callable[[S, A, O_contra], R]) -> Callable[Concatenate[S, A, P], R]: ...

    @overload
    def __call__(self, method: Callable[[S, A, B, O_contra], R]) -> Callable[Concatenate[S, A, B, P], R]: ...

    def __call__(self, method: Callable[..., R]) -> Callable[..., R]:
        """The method, called with keywords."""
        own = inspect.signature(method)
        *before, last = own.parameters.values()
        names = [one.name for one in before]

        @wraps(method)
        def called(*given: Any, **keywords: Any) -> R:
            others = {name: keywords.pop(name) for name in names if name in keywords}
            return method(*given, **others, **{last.name: self._options(**keywords)})

        added = inspect.signature(self._options).parameters.values()
        called.__signature__ = own.replace(parameters=[*before, *added])  # type: ignore[attr-defined]
        return called
