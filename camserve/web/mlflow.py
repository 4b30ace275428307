"""MLflow's requests: images in a column of a table, in a named tensor, or in a list.

The forms are those of MLflow 3 (mlflow.pyfunc.scoring_server). MLflow decodes base64 in dataframe_split and
dataframe_records if the signature of a model says that a column is binary, and passes text in inputs and instances to
the model. Here, text is base64 in all four forms.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from camserve.errors import OptionError, shown
from camserve.images.reading import Source
from camserve.web.bodies import check_images, decode_base64, emptied, named
from camserve.web.request_options import Options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
# Levels of names around an image: {"image_bytes": {"b64": ".."}}, in a column.
_DEEPEST = 3
# Most values of a body. A pixel in numbers counts as four values, so this is enough for 150,000 pixels, such as three
# images of 224 x 224. Parsing takes 70 ms, in which nothing else runs.
MOST_VALUES = 600_000


class Split(BaseModel):
    """A table, as pandas writes it with orient="split"."""

    model_config = ConfigDict(extra="forbid")

    columns: list[str | int] = Field(fail_fast=True)
    data: list[list[Any]] = Field(fail_fast=True)
    index: list[Any] | None = None


class MlflowRequest(BaseModel):
    """The body of /invocations: the images in one of four forms, and options, which MLflow calls params."""

    model_config = ConfigDict(extra="forbid")

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = Field(None, fail_fast=True)
    inputs: list[Any] | dict[str, Any] | None = None
    instances: list[Any] | None = None
    parameters: Options = Field(Options(), validation_alias=AliasChoices("parameters", "params"))

    @model_validator(mode="after")
    def _one(self) -> "MlflowRequest":
        if len([form for form in FORMS if getattr(self, form) is not None]) != 1:
            raise ValueError(f"give the images in one of {', '.join(FORMS)}")
        return self

    def take_images(self) -> list[Source]:
        """Remove the images from the request, and return them in order.

        Raises OptionError if there are no images or they cannot be identified, and TooMuch.
        """
        found: list[Source] = []
        for place, value in self._values():
            check_images(len(found) + 1)
            found.append(_image(value, place))
        if not found:
            raise OptionError(f"there is no image in the request; give at least one in one of {', '.join(FORMS)}")
        return found

    def _values(self) -> Iterator[tuple[str, Any]]:
        """The location and the value of each image."""
        if self.dataframe_split is not None:
            yield from _column(self.dataframe_split)
        elif self.dataframe_records is not None:
            for row, record in enumerate(emptied(self.dataframe_records)):
                yield f"dataframe_records.{row}", _only(record, f"dataframe_records.{row}")
        elif isinstance(self.inputs, dict):
            tensor = _only(self.inputs, "inputs")
            for row, value in enumerate(emptied(tensor) if isinstance(tensor, list) else [tensor]):
                yield f"inputs.{row}", value
        else:
            form, listed = ("inputs", self.inputs) if self.inputs is not None else ("instances", self.instances)
            for row, value in enumerate(emptied(listed or [])):
                yield f"{form}.{row}", value


def _column(table: Split) -> Iterator[tuple[str, Any]]:
    if len(table.columns) != 1:
        raise OptionError(f"dataframe_split has {named('column', table.columns)}; give one, which holds the images")
    for row, values in enumerate(emptied(table.data)):
        if len(values) != 1:
            raise OptionError(f"row {row} of dataframe_split has {len(values)} values; there is one column")
        yield f"dataframe_split.{row}", values[0]


def _only(values: dict[str, Any], where: str) -> Any:
    if len(values) != 1:
        raise OptionError(
            f"{where} has {named('name', list(values))}; give one, which holds the images and may have any name"
        )
    return next(iter(values.values()))


def _image(value: Any, where: str) -> Source:
    """One image from base64 or numbers, possibly under a name."""
    for _ in range(_DEEPEST):
        if isinstance(value, dict):
            value = _only(value, where)
    if isinstance(value, str):
        return decode_base64(value, where)
    if isinstance(value, list):
        return _pixels(value, where)
    raise OptionError(
        f"{where} {shown(value)} is not an image: give a file in base64, or rows of pixels, as in [[[r, g, b]]]"
    )


def _pixels(value: list[Any], where: str) -> "npt.NDArray[np.uint8]":
    """Rows of pixels of three numbers, 0 to 255, as an array (H, W, 3).

    numpy.array is not used: if one value is a long text, it would make every value as long.
    """
    import numpy as np

    width = len(value[0]) if value and isinstance(value[0], list) else 0
    rows = [_row(row, width) for row in value] if width else [None]
    if None in rows:
        raise OptionError(
            f"{where} {shown(value)} is not an image in numbers: give height x width x 3 whole numbers from 0 to 255, "
            "before any preprocessing"
        )
    return np.frombuffer(b"".join(filter(None, rows)), np.uint8).reshape(len(rows), width, 3)


def _row(value: Any, width: int) -> bytes | None:
    """The bytes of one row; None if the row is not `width` pixels of three whole numbers from 0 to 255."""
    if not isinstance(value, list) or len(value) != width:
        return None
    if any(not isinstance(pixel, list) or len(pixel) != 3 for pixel in value):
        return None
    numbers = list(chain.from_iterable(value))
    if set(map(type, numbers)) != {int} or min(numbers) < 0 or max(numbers) > 255:
        return None
    return bytes(numbers)
