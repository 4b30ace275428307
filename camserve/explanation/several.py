"""Several explanations of one photograph: a list that a notebook shows as a sheet."""

from collections.abc import Iterable, Iterator, Sequence

from PIL import Image

from camserve.catalogue.methods import METHODS
from camserve.catalogue.options import OverlayOptions, takes
from camserve.errors import OptionError
from camserve.explanation.contact_sheet import Entry, class_entries, draw_sheet
from camserve.explanation.explanation import Explanation
from camserve.explanation.showing import show_picture
from camserve.images.reading import encode


class Explanations(list[Explanation]):
    """A list of explanations, the result of a model's `explain_methods` and `explain_classes`.

    left_out: {method: why it is not in the list}; empty if nothing was left out.
    """

    def __init__(self, explanations: Iterable[Explanation] = (), entries: Sequence[Entry] = ()) -> None:
        """entries: the entries of the sheet, with the explanations in the same order; if their titles are known."""
        super().__init__(explanations)
        self._entries = tuple(entries)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Explanations":
        """Make a list of the explanations in entries."""
        several = list(entries)
        return cls((one.explanation for one in several if one.explanation is not None), several)

    @property
    def left_out(self) -> dict[str, str]:
        """{name: reason} of the requested methods that are not in the list."""
        return {one.name: one.reason for one in self._entries if one.explanation is None}

    @takes(OverlayOptions)
    def sheet(self, look: OverlayOptions) -> Image.Image:
        """Draw the photograph and a tile for each explanation, RGB. What was left out has a tile with the reason.

        signed, scale, boxes and legend have no effect: each tile is relative to its own maximum. Raises OptionError if
        there is nothing to show, or if the explanations are of several photographs.
        """
        return self._drawn(look)

    @takes(OverlayOptions)
    def show(self, look: OverlayOptions) -> None:
        """Show the sheet below the cell of a notebook, else in the system's viewer. Raises OptionError."""
        show_picture(self._drawn(look))

    def _drawn(self, look: OverlayOptions) -> Image.Image:
        if not self:
            raise OptionError("there is no explanation in this list, so there is nothing to draw")
        first = self[0].photo
        if any(one.photo is not first and one.photo.sha256 != first.sha256 for one in self):
            raise OptionError("these explanations are of several photographs; a sheet shows one photograph")
        return draw_sheet(first.image, first.name, list(self._current()), look)

    def _current(self) -> Iterable[Entry]:
        """Return the entries, or new ones if the list was changed."""
        known = [one.explanation for one in self._entries if one.explanation is not None]
        if len(known) == len(self) and all(one is other for one, other in zip(known, self, strict=True)):
            return self._entries
        return _plain_entries(self)

    def _repr_png_(self) -> bytes | None:
        """Show the sheet in notebooks. If no sheet can be drawn, they show the list as text."""
        try:
            return encode(self._drawn(OverlayOptions()), "png")
        except OptionError:
            return None


def _plain_entries(several: Iterable[Explanation]) -> Iterator[Entry]:
    for entry in class_entries(several):
        made = entry.explanation
        yield Entry(entry.name, entry.title, METHODS[made.method].title if made else "", entry.detail, made)
