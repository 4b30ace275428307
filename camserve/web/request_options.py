"""The options of a request. Their names are the same in all dialects; most come from catalogue/options.py."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from camserve.catalogue import options
from camserve.catalogue.option_metadata import About, about
from camserve.catalogue.options import ExplainOptions, OverlayOptions
from camserve.catalogue.questions import Questions, parse_questions
from camserve.config.validation_words import words_of
from camserve.errors import OptionError, UnknownName, shown
from camserve.images.reading import OUTPUTS as FORMATS

OUTPUTS = ("overlay", "heatmap", "mask", "maps")
TRUST = "trust"  # as an output, it means trust=on
SWITCHES = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}

# Most characters of an option; the longest useful one is a list of regions.
LONGEST = 1000


def _number(value: object) -> object:
    """Refuse true and false, which Python would read as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "should be a number")
    return value


Text = Annotated[str, Field(max_length=LONGEST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]

_QUESTIONS = {name: one for name, (one, _) in about(options.Questioned).items()}
_SEVERAL = "; several are separated by semicolons"


def _switch(value: object) -> object:
    return SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(_switch)]


class Asked(BaseModel):
    """What a caller may choose; None leaves the choice to the service's settings.

    contour, boxes: whether they are drawn, or the threshold as a share of the maximum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    if TYPE_CHECKING:
        target: int | str | None = None
        output: int | str | None = None
        labels: str | None = None
        min_side: int | None = None

    model: Annotated[
        Text | None,
        About("a name of `GET /api/v1/models`", str, unset="efficientnet-lite0", settings=("explain.model",)),
    ] = None
    top_k: Annotated[
        int, Field(ge=1), BeforeValidator(_number), About("how many classes the JSON lists", int, least=1)
    ] = 5
    threshold: Annotated[Share | None, _QUESTIONS["threshold"]] = None
    at: Annotated[Text | None, replace(_QUESTIONS["at"], help=_QUESTIONS["at"].help + _SEVERAL)] = None
    region: Annotated[Text | None, replace(_QUESTIONS["region"], help=_QUESTIONS["region"].help + _SEVERAL)] = None
    polygons: Annotated[Switch, _QUESTIONS["polygons"]] = False
    outputs: Annotated[
        tuple[str, ...],
        About(
            "pictures and maps that the answer also holds: in the JSON as base64, in an archive as files; several are "
            "separated by commas; `trust` is the same as `trust=on`",
            str,
            choices=(*OUTPUTS, TRUST),
        ),
    ] = ()
    format: Annotated[
        Literal["png", "jpeg", "webp"] | None,
        About("format of the overlay, if Accept allows several", str, choices=tuple(FORMATS), unset="png"),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: object) -> object:
        for name in values if isinstance(values, Mapping) else ():
            if name not in cls.model_fields:
                raise UnknownName("option", name, cls.model_fields)
        return _with_trust(values) if isinstance(values, Mapping) else values

    @field_validator("format", mode="before")
    @classmethod
    def _known_format(cls, value: object) -> object:
        return value if value is None else _known("format", tuple(FORMATS), value)

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
        names = _names_of(value)
        for name in names if isinstance(names, list | tuple) else ():
            if name not in OUTPUTS:
                raise UnknownName("output", name, (*OUTPUTS, TRUST))
        return list(dict.fromkeys(names)) if isinstance(names, list | tuple) else names

    @property
    def questions(self) -> Questions:
        """The questions about places and regions."""
        return parse_questions(_several(self.at), _several(self.region), self.polygons)

    def for_model(self, name: str) -> Self:
        """The options for the model in the path. Raises OptionError if the options name another model."""
        if self.model not in (None, name):
            raise OptionError(f"the path names model '{name}', the options name '{self.model}'; give only one")
        return self.model_copy(update={"model": name})

    def question(self) -> ExplainOptions:
        """The options of explaining. Together with the target, they determine the map."""
        given = self.__dict__
        return options.ExplainOptions(**{name: given[name] for name in _HOW})

    def drawing(self, threshold: float) -> OverlayOptions:
        """The options of drawing. threshold: the setting, used if the request gives no threshold."""
        share = threshold if self.threshold is None else self.threshold
        look = {name: self.__dict__[name] for name in _LOOK}
        for name in _SWITCHED:
            if isinstance(look[name], bool):
                look[name] = share if look[name] else None
        return options.OverlayOptions(**look)


def _names_of(outputs: object) -> object:
    return outputs.split(",") if isinstance(outputs, str) else outputs


def _with_trust(values: Mapping[str, object]) -> Mapping[str, object]:
    """The options, in which the output `trust` is replaced by trust=on."""
    names = _names_of(values.get("outputs"))
    if not isinstance(names, list | tuple) or TRUST not in names:
        return values
    return {**values, "outputs": [name for name in names if name != TRUST], TRUST: True}


def _part(part: type, one: About) -> Any:
    """One type of an option, with its range."""
    if part is str:
        return Text if one.longest is None else Annotated[str, Field(max_length=one.longest)]
    if part is bool:
        return bool
    finite = None if part is int else False
    return Annotated[part, Field(ge=one.least, gt=one.above, le=one.most, allow_inf_nan=finite)]


def _field(name: str, one: About, default: object) -> tuple[Any, object]:
    """The type and the default of an option in a request."""
    parts = [_part(part, one) for part in get_args(one.wire) or (one.wire,)]
    if one.switch:
        parts, default = [bool, *parts], False
    kind: Any = Union[tuple([*parts, None] if default is None else parts)]  # noqa: UP007 - made, not written
    if bool in parts:
        kind = Annotated[kind, BeforeValidator(_switch)]
    elif {int, float} & set(get_args(one.wire) or (one.wire,)):
        kind = Annotated[kind, BeforeValidator(_number)]
    if one.choices:
        kind = Annotated[kind, BeforeValidator(partial(_known, name, one.choices))]
    if one.check is not None:
        kind = Annotated[kind, AfterValidator(partial(_checked, one.check))]
    return Annotated[kind, one], default


def _known(name: str, choices: tuple[str, ...], value: object) -> object:
    if value not in choices:
        raise UnknownName(name, value, choices)
    return value


def _checked(check: Callable[[Any], object], value: object) -> object:
    if value is not None:
        check(value)
    return value


_HOW, _LOOK = (tuple(about(kind)) for kind in (options.ExplainOptions, options.OverlayOptions))
_SWITCHED = {name: one for name, (one, _) in about(options.OverlayOptions).items() if one.switch}
_SHARED = {
    name: _field(name, *known)
    for kind in (options.Targeted, options.ExplainOptions, options.OverlayOptions)
    for name, known in about(kind).items()
}

if TYPE_CHECKING:
    Options = Asked
else:
    Options = create_model("Options", __base__=Asked, __doc__=Asked.__doc__, **_SHARED)


def described() -> dict[str, tuple[About, object]]:
    """The description and the default of each option, by name: the model first, then the shared options."""
    found = {}
    for name in dict.fromkeys(("model", *_SHARED, *Options.model_fields)):
        field = Options.model_fields[name]
        found[name] = next(known for known in field.metadata if isinstance(known, About)), field.default
    return found


def _several(text: str | None) -> list[str]:
    return text.split(";") if text else []


def make_options(values: Mapping[str, object]) -> Options:
    """Options from names and values. Raises UnknownName for an unknown name or choice, and OptionError."""
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise OptionError(_explain(error)) from None


def parse_options(pairs: Iterable[tuple[str, str]]) -> Options:
    """Options from a query or a form. Blank values are ignored, because a form sends them for fields left empty.

    Raises OptionError, also for a name that is given twice.
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
        said = words_of(problem)
        if name in _SWITCHED:
            said = f"should be on, off or a share of the maximum, {_SWITCHED[name].range}"
        clauses[name] = f"{name} {shown(problem['input'])}: {said}"
    return "; ".join(clauses.values())
