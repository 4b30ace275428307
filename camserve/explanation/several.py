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
    """A list of explanations, as `explain_methods` and `explain_classes` of a model give it.

    left_out: {method: why it is not in the list}; empty where each thing that was asked for is.
    """

    def __init__(self, explanations: Iterable[Explanation] = (), entries: Sequence[Entry] = ()) -> None:
        """entries: of the sheet, where their titles are known; those of the explanations in the same order."""
        super().__init__(explanations)
        self._entries = tuple(entries)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Explanations":
        """What entries hold."""
        several = list(entries)
        return cls((one.explanation for one in several if one.explanation is not None), several)

    @property
    def left_out(self) -> dict[str, str]:
        """{name: reason} of what was asked for and is not here."""
        return {one.name: one.reason for one in self._entries if one.explanation is None}

    @takes(OverlayOptions)
    def sheet(self, look: OverlayOptions) -> Image.Image:
        """The photograph, and a tile for each explanation, RGB; also for what was left out, with the reason.

        signed, scale, boxes and legend have no effect: each tile is drawn over its own maximum. Raises OptionError
        where there is nothing to show, or the explanations are of several photographs.
        """
        return self._drawn(look)

    @takes(OverlayOptions)
    def show(self, look: OverlayOptions) -> None:
        """Shows the sheet: below the cell of a notebook, else in the system's viewer. Raises OptionError."""
        show_picture(self._drawn(look))

    def _drawn(self, look: OverlayOptions) -> Image.Image:
        if not self:
            raise OptionError("there is no explanation in this list, so there is nothing to draw")
        first = self[0].photo
        if any(one.photo is not first and one.photo.sha256 != first.sha256 for one in self):
            raise OptionError("these explanations are of several photographs; a sheet shows one photograph")
        return draw_sheet(first.image, first.name, list(self._current()), look)

    def _current(self) -> Iterable[Entry]:
        """The entries, unless the list was changed since they were made."""
        known = [one.explanation for one in self._entries if one.explanation is not None]
        if len(known) == len(self) and all(one is other for one, other in zip(known, self, strict=True)):
            return self._entries
        return _plain_entries(self)

    def _repr_png_(self) -> bytes | None:
        """Notebooks show the sheet; of what makes no sheet, the list in words."""
        try:
            return encode(self._drawn(OverlayOptions()), "png")
        except OptionError:
            return None


def _plain_entries(several: Iterable[Explanation]) -> Iterator[Entry]:
    for entry in class_entries(several):
        made = entry.explanation
        yield Entry(entry.name, entry.title, METHODS[made.method].title if made else "", entry.detail, made)
