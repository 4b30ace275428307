"""What may be asked about an explanation beyond its map: one set of names for the command line and HTTP."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from camserve.errors import OptionError, shown

if TYPE_CHECKING:
    from camserve.explanation import Explanation

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Questions:
    """at: places (x, y), to say what each votes for. region: boxes (left, top, right, bottom), for their shares.

    polygons: whether to outline the heat. All in pixels of the original.
    """

    at: tuple[Numbers, ...] = ()
    region: tuple[Numbers, ...] = ()
    polygons: bool = False

    def answers(self, explanation: "Explanation", top: int, threshold: float) -> dict[str, Any]:
        """For JSON: `places`, `regions` with `bias`, `polygons`, each where it was asked for. Raises OptionError.

        top: how many classes a place. threshold: heat from which on the outlines are.
        """
        found: dict[str, Any] = {}
        if self.at:
            found["places"] = [
                {"x": x, "y": y, "votes": [asdict(vote) for vote in explanation.at(x, y, top)]} for x, y in self.at
            ]
        if self.region:
            whole = explanation.share((0, 0, *explanation.photo.size))
            found["regions"] = [
                {"box": list(box), "logits": explanation.share(box), "of": whole} for box in self.region
            ]
            found["bias"] = explanation.bias
        if self.polygons:
            found["polygons"] = [asdict(polygon) for polygon in explanation.polygons(threshold)]
        return found


def in_words(facts: dict[str, Any]) -> Iterator[str]:
    """The answers in what `Explanation.to_dict` gave, a line each."""
    for place in facts.get("places", ()):
        votes = ", ".join(f"{vote['class_name']} {vote['logits']:.2f}" for vote in place["votes"])
        yield f"at {place['x']:g},{place['y']:g}: {votes} (logits)"
    for region in facts.get("regions", ()):
        box = ",".join(f"{edge:g}" for edge in region["box"])
        yield f"region {box}: {region['logits']:.2f} logits; all places together {region['of']:.2f}"
    for polygon in facts.get("polygons", ()):
        corners, box = len(polygon["rings"][0]) - 1, polygon["box"]
        yield f"polygon of {corners} corners with {box['share']:.0%} of the heat"


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
