"""The options of a request: one set of names, whichever dialect they came in."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from camserve.errors import OptionError, UnknownName, shown
from camserve.images import OUTPUTS as FORMATS
from camserve.methods import AUTO, QUANTITIES, find_method
from camserve.questions import Questions, parse_questions
from camserve.render import colours

OUTPUTS = ("overlay", "heatmap", "mask")
SWITCHES = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}
_SWITCH_OR_SHARE = "should be on, off or a share of the maximum, 0 to 1"

# Characters of an option; the longest there is reason for is a list of regions.
LONGEST = 1000

Text = Annotated[str, Field(max_length=LONGEST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Options(BaseModel):
    """What a caller may choose; None leaves the choice to the service's settings.

    contour, boxes: whether they are drawn, or the share of the maximum from which. at, region: see `Questions`;
    several are separated by semicolons. outputs: what the JSON
    answer carries besides numbers. format: how its overlay is encoded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Text | None = None
    method: Text | None = None
    target: int | Text | None = None
    quantity: Text = QUANTITIES[0]
    top_k: Annotated[int, Field(ge=1)] = 5
    layer: Text | None = None
    size: int | Text | None = None
    output_stride: Annotated[int, Field(ge=1, le=65_535)] | None = None
    sharp: bool | None = None
    colormap: Text | None = None
    alpha: Share | None = None
    threshold: Share | None = None
    contour: bool | Share = False
    boxes: bool | Share = False
    legend: bool = False
    signed: bool = False
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    at: Text | None = None
    region: Text | None = None
    polygons: bool = False
    outputs: tuple[str, ...] = ()
    format: Literal["png", "jpeg", "webp"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: object) -> object:
        for name in values if isinstance(values, Mapping) else ():
            if name not in cls.model_fields:
                raise UnknownName("option", name, cls.model_fields)
        return values

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str | None) -> str | None:
        if value not in (None, AUTO):
            find_method(value)
        return value

    @field_validator("quantity", mode="before")
    @classmethod
    def _known_quantity(cls, value: object) -> object:
        if value not in QUANTITIES:
            raise UnknownName("quantity", value, QUANTITIES)
        return value

    @field_validator("colormap")
    @classmethod
    def _known_colormap(cls, value: str | None) -> str | None:
        if value is not None:
            colours(value)
        return value

    @field_validator("format", mode="before")
    @classmethod
    def _known_format(cls, value: object) -> object:
        if value is not None and value not in FORMATS:
            raise UnknownName("format", value, FORMATS)
        return value

    @field_validator("at")
    @classmethod
    def _places(cls, value: str | None) -> str | None:
        parse_questions(at=_several(value))
        return value

    @field_validator("region")
    @classmethod
    def _boxes(cls, value: str | None) -> str | None:
        parse_questions(region=_several(value))
        return value

    @field_validator("outputs", mode="before")
    @classmethod
    def _known_outputs(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        for name in names if isinstance(names, list | tuple) else ():
            if name not in OUTPUTS:
                raise UnknownName("output", name, OUTPUTS)
        return list(dict.fromkeys(names)) if isinstance(names, list | tuple) else names

    @field_validator("contour", "boxes", "legend", "sharp", "polygons", "signed", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return SWITCHES.get(value.lower(), value) if isinstance(value, str) else value

    @property
    def questions(self) -> Questions:
        """What is asked about places and regions."""
        return parse_questions(_several(self.at), _several(self.region), self.polygons)

    def for_model(self, name: str) -> "Options":
        """The same for the model that the path names. Raises OptionError where the options name another."""
        if self.model not in (None, name):
            raise OptionError(f"the path asks for model '{name}', the options for '{self.model}'; give one")
        return self.model_copy(update={"model": name})

    def question(self) -> dict[str, Any]:
        """The arguments of `camserve.explain.explain`: all that another map may come of."""
        names = ("method", "target", "quantity", "layer", "size", "output_stride", "sharp")
        return {name: getattr(self, name) for name in names}

    def drawing(self, threshold: float) -> dict[str, Any]:
        """The arguments of `Explanation.overlay`. threshold: the setting that holds where none was given."""
        share = threshold if self.threshold is None else self.threshold

        def level(choice: bool | float) -> float | None:
            return (share if choice else None) if isinstance(choice, bool) else choice

        return {
            "alpha": self.alpha,
            "colormap": self.colormap,
            "contour": level(self.contour),
            "boxes": level(self.boxes),
            "legend": self.legend,
            "signed": self.signed,
            "scale": self.scale,
        }


def _several(text: str | None) -> list[str]:
    return text.split(";") if text else []


def make_options(values: Mapping[str, object]) -> Options:
    """Options from names and values. Raises UnknownName for a name or choice that is none, OptionError."""
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise OptionError(_explain(error)) from None


def parse_options(pairs: Iterable[tuple[str, str]]) -> Options:
    """Options from a query or a form. Blank values are left out: a form sends them for what was not chosen.

    Raises OptionError, also for a name given twice.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name == "outputs" and name in values:
            value = f"{values[name]},{value}"
        elif name in values:
            raise OptionError(f"option '{name}' was given twice: {shown(values[name])} and {shown(value)}; give one")
        if value != "":
            values[name] = value
    return make_options(values)


def _explain(error: ValidationError) -> str:
    """`alpha '2': should be less than or equal to 1`, one clause per option."""
    clauses = {}
    for problem in error.errors():
        name = str(problem["loc"][0])
        said = _SWITCH_OR_SHARE if name in ("contour", "boxes") else problem["msg"].removeprefix("Input ")
        clauses[name] = f"{name} {shown(problem['input'])}: {said}"
    return "; ".join(clauses.values())
