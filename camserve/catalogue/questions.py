"""What users may ask about an explanation beyond its map; the command line and HTTP use the same names."""

from collections.abc import Iterable
from dataclasses import dataclass

from camserve.errors import OptionError, shown

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Questions:
    """Questions about an explanation. All coordinates are in pixels of the original.

    at: places (x, y): which classes does each vote for? region: boxes (left, top, right, bottom): how much does each
    add to the logit? polygons: whether to outline the heat.
    """

    at: tuple[Numbers, ...] = ()
    region: tuple[Numbers, ...] = ()
    polygons: bool = False


def parse_questions(at: Iterable[str] = (), region: Iterable[str] = (), polygons: bool = False) -> Questions:
    """Read questions from text: at "X,Y", region "LEFT,TOP,RIGHT,BOTTOM". Raises OptionError."""
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
