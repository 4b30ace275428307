"""What a method runs besides the one forward pass that the prediction needs: numbers, and the words made of them."""

from dataclasses import dataclass
from enum import StrEnum

from camserve.catalogue.head_kinds import HeadKind


class Each(StrEnum):
    """What there may be one run for, by the symbol that stands for how many there are."""

    CHANNEL = "K"
    CELL = "h w"


@dataclass(frozen=True)
class Cost:
    """What it costs, as `str` says it: "35 K forwards".

    count: how often the first thing named in `words` is run, for each of `each` where that is given; None where that
    has no number. words: what is run, with {n} for the number. free_under: the kind of head that needs none of it.
    """

    count: int | None
    words: str
    each: Each | None = None
    free_under: HeadKind | None = None

    def __str__(self) -> str:
        number = self.each if self.each and self.count == 1 else f"{self.count} {self.each or ''}".rstrip()
        free = f"; none under a {self.free_under} head" if self.free_under else ""
        return self.words.format(n=number) + free

    def counted(self, channels: int, cells: int, head: HeadKind) -> str:
        """The same, said of a layer of so many channels and cells, before such a head."""
        if head is self.free_under:
            return str(NOTHING)
        many = {None: 1, Each.CHANNEL: channels, Each.CELL: cells}[self.each]
        return self.words.format(n=(self.count or 0) * many)


NOTHING = Cost(0, "no more forwards")
