"""What may be asked about an explanation beyond its map: one set of names for the command line and HTTP."""

from collections.abc import Iterable
from dataclasses import dataclass

from camserve.errors import OptionError, shown

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Questions:
    """at: places (x, y), to say what each votes for. region: boxes (left, top, right, bottom), for their shares.

    polygons: whether to outline the heat. All in pixels of the original.
    """

    at: tuple[Numbers, ...] = ()
    region: tuple[Numbers, ...] = ()
    polygons: bool = False


def parse_questions(at: Iterable[str] = (), region: Iterable[str] = (), polygons: bool = False) -> Questions:
    """Questions from text: at "X,Y", region "LEFT,TOP,RIGHT,BOTTOM". Raises OptionError."""
    return Questions(
        tuple(_numbers("at", text, "x,y") for text in at),
        tuple(_numbers("region", text, "left,top,right,bottom") for text in region),
        polygons,
    )


def _numbers(option: str, text: str, form: str) -> Numbers:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(",")):
        raise OptionError(
            f"{option} {shown(text)} should be {form}: numbers of pixels of the original, separated by commas"
        )
    return numbers
