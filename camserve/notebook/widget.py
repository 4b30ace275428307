"""The widget: the data and the options of drawing, as traits that Python and the browser both read and set."""

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
    """A trait that takes the values of an overlay option and refuses others with the same message."""

    def __init__(self, option: str, **more: Any) -> None:
        super().__init__(**more)
        self._option = option

    def validate(self, obj: Any, value: Any) -> Any:
        """Raises OptionError, UnknownName."""
        if value is None and self.allow_none:
            return None
        return _OPTIONS[self._option][0].checked(str(self.name), value)


class Widget(anywidget.AnyWidget):
    """The photograph with its heat, drawn in the browser; `Explanation.widget` makes it.

    Python can read and set the reader's choices: `class_index`, None for the explained target; `alpha`, `colormap`,
    `signed`, `grey`, `smooth` and `scale` as in `Explanation.overlay` (colormap None: the one of the settings);
    `contour` and `boxes`, whether these lines are drawn, at `threshold` of the maximum; `split`, the share of the
    photograph without heat, from the left. Each raises OptionError for a wrong value. `observe` reports changes.
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

    # The data to draw: facts and photograph, made by explanation/live_canvas.py; and the colours of each colour map.
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
        """content: for live_canvas.js. photo: a PNG. classes: the allowed values of `class_index`.

        colormaps: the choices. still: makes a PNG for viewers without widgets. said: the repr.
        """
        self._classes, self._still, self._said = frozenset(classes), still, said
        super().__init__(content=content, photo=photo, palettes=dict(map(_coloured, colormaps)), **choices)

    @property
    def look(self) -> dict[str, Any]:
        """The choices as options of `overlay`: `explanation.overlay(**widget.look)` draws what the widget shows.

        This holds for the explained class. For another class, explain it: `model.explain(image,
        target=widget.class_index)`.
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
                f"class_index {shown(proposal['value'])} is not a class of this widget: {self._allowed}. For another "
                "class use model.explain(image, target=...)"
            )
        return index

    @property
    def _allowed(self) -> str:
        if len(self._classes) < 2:
            return "it has only the explained map"
        return f"it has {len(self._classes)} classes, indices from {min(self._classes)} to {max(self._classes)}"

    @traitlets.validate("colormap")
    def _with_palette(self, proposal: Any) -> str | None:
        """Send the colours to the browser before the name."""
        name: str | None = proposal["value"]
        if name is not None and name not in self.palettes:
            self.palettes = {**self.palettes, **dict([_coloured(name)])}
        return name

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget, and a picture for viewers without widgets, such as a notebook converted to HTML."""
        bundle = super()._repr_mimebundle_()
        return bundle and ({**bundle[0], "image/png": base64.b64encode(self._still()).decode()}, bundle[1])

    def __repr__(self) -> str:
        return self._said


def _coloured(colormap: str) -> tuple[str, list[str]]:
    """The name of a colour map, its label, and its colours."""
    return colormap, [colormap_label(colormap), palette(colormap)]
