"""The widget: what is drawn, and how, as traits that Python and the browser both read and set."""

import base64
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from camserve.catalogue.colormaps import colormap_label, palette
from camserve.catalogue.numbers import as_whole
from camserve.catalogue.option_metadata import about
from camserve.catalogue.options import OverlayOptions
from camserve.errors import OptionError, shown
from camserve.notebook.one_module import one_module

_HERE = Path(__file__).parent
_OPTIONS = about(OverlayOptions)


class _Option(traitlets.TraitType[Any, Any]):
    """A trait with the values of an option of overlays, of its name or another: it refuses others in the same words."""

    def __init__(self, option: str, **more: Any) -> None:
        super().__init__(**more)
        self._option = option

    def validate(self, obj: Any, value: Any) -> Any:
        """Raises OptionError, UnknownName."""
        if value is None and self.allow_none:
            return None
        return _OPTIONS[self._option][0].checked(str(self.name), value)


class Widget(anywidget.AnyWidget):
    """The photograph with its heat, drawn in the browser; made by `Explanation.widget`.

    What a reader chooses is here to read, and to set: `class_index`, None for the target as it was explained; `alpha`,
    `colormap`, `signed`, `grey`, `smooth` and `scale` as in `Explanation.overlay`, colormap None for the settings' own;
    `contour` and `boxes`, whether there are such lines, from `threshold` of the maximum on; `split`, the share of the
    photograph that has no heat, from the left. Each raises OptionError for another value. `observe` tells of changes.
    """

    _esm = one_module(_HERE / "live_canvas.js")
    _css = (_HERE / "live_canvas.css").read_text(encoding="utf-8")

    class_index = traitlets.Any(None).tag(sync=True)
    alpha = _Option("alpha").tag(sync=True)
    colormap = _Option("colormap", allow_none=True, default_value=None).tag(sync=True)
    signed = _Option("signed").tag(sync=True)
    grey = _Option("grey").tag(sync=True)
    smooth = _Option("smooth").tag(sync=True)
    scale = _Option("scale", allow_none=True, default_value=None).tag(sync=True)
    contour = _Option("grey").tag(sync=True)
    boxes = _Option("grey").tag(sync=True)
    threshold = _Option("contour").tag(sync=True)
    split = _Option("alpha", default_value=0.0).tag(sync=True)

    # What is drawn: facts and photograph, by camserve/explanation/live_canvas.py; the colours of each name.
    content = traitlets.Dict().tag(sync=True)
    photo = traitlets.Bytes().tag(sync=True)
    palettes = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        *,
        content: dict[str, Any],
        photo: bytes,
        classes: Collection[int],
        colormaps: Collection[str],
        still: Callable[[], bytes],
        said: str,
        **choices: Any,
    ) -> None:
        """content: for live_canvas.js. photo: a PNG. classes: those that `class_index` may be.

        colormaps: to choose from. still: gives a PNG for what shows no widgets. said: its repr.
        """
        self._classes, self._still, self._said = frozenset(classes), still, said
        super().__init__(content=content, photo=photo, palettes=dict(map(_coloured, colormaps)), **choices)

    @property
    def look(self) -> dict[str, Any]:
        """The choices as options of `overlay`: `explanation.overlay(**widget.look)` draws what the widget shows.

        Of the class that was explained; for another, explain it: `model.explain(image, target=widget.class_index)`.
        """
        look = {name: getattr(self, name) for name in ("alpha", "colormap", "signed", "grey", "smooth", "scale")}
        return look | {name: self.threshold if getattr(self, name) else None for name in ("contour", "boxes")}

    @traitlets.validate("class_index")
    def _known_class(self, proposal: Any) -> int | None:
        if proposal["value"] is None:
            return None
        index = as_whole(proposal["value"])
        if index not in self._classes:
            raise OptionError(
                f"class_index {shown(proposal['value'])} is no class whose map this widget has: {self._allowed}. "
                "model.explain(image, target=...) explains another"
            )
        return index

    @property
    def _allowed(self) -> str:
        if len(self._classes) < 2:
            return "it has the explained map alone"
        return f"it has {len(self._classes)} of them, indices from {min(self._classes)} to {max(self._classes)}"

    @traitlets.validate("colormap")
    def _with_palette(self, proposal: Any) -> str | None:
        """Its colours are in the browser before its name is."""
        name: str | None = proposal["value"]
        if name is not None and name not in self.palettes:
            self.palettes = {**self.palettes, **dict([_coloured(name)])}
        return name

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget, and a picture for what shows no widgets: a viewer of files, a notebook made a page."""
        bundle = super()._repr_mimebundle_()
        return bundle and ({**bundle[0], "image/png": base64.b64encode(self._still()).decode()}, bundle[1])

    def __repr__(self) -> str:
        return self._said


def _coloured(colormap: str) -> tuple[str, list[str]]:
    """A colour map's name, what it is called, and its colours."""
    return colormap, [colormap_label(colormap), palette(colormap)]
