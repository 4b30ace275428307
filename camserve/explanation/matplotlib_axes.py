"""Explanations as figures of matplotlib: in axes of a notebook or a paper, and as SVG and PDF files."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from camserve.catalogue.colormaps import colours
from camserve.errors import OptionError
from camserve.render.legend import Legend
from camserve.render.painting import opacity_of
from camserve.system.files import given_path, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes

FORMATS = ("svg", "pdf")
_INCHES = 4.0  # the width of a photograph in a file
_WORDS = 0.75  # inches for the title and the bar
_LEAST_DOTS = 100  # an inch
# Without dates, the same figure always gives the same file.
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_STYLE: Any = {"svg.hashsalt": "camserve", "svg.fonttype": "none"}


class Drawing(NamedTuple):
    """An overlay without text, with the text and colours of its legend; alpha and signed as in OverlayOptions."""

    picture: Image.Image
    legend: Legend
    colormap: str
    alpha: float
    signed: bool


def check_matplotlib() -> None:
    """Raise OptionError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise OptionError("figures are drawn by matplotlib, which is not installed: pip install 'camserve[figures]'")


def draw_into(axes: "Axes | None", drawing: Drawing) -> "Axes":
    """Draw the picture into axes, in its own pixels, with its caption as title and a colour bar below. Returns axes.

    axes: None makes a pyplot figure, which a notebook shows. Raises OptionError if matplotlib is not installed, or if
    `axes` is not matplotlib axes.
    """
    check_matplotlib()
    from matplotlib.axes import Axes

    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(figsize=_size(drawing.picture), layout="constrained")[1]
    if not isinstance(axes, Axes):
        raise OptionError(f"ax is of type {type(axes).__name__}; give matplotlib axes, as pyplot.subplots() makes them")
    axes.imshow(drawing.picture, interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(drawing.legend.caption.replace("$", r"\$"), fontsize=10)
    _bar(axes, drawing)
    return axes


def write_figure(path: str | Path, drawing: Drawing) -> Path:
    """Write an .svg or .pdf file, as the path's ending says: words as text, the picture in its own pixels.

    Raises OptionError, OutputError.
    """
    path = given_path("path", path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise OptionError(f"path '{path}' ends with neither .svg nor .pdf; for pixels use overlay(legend=True).save")
    check_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure, content = Figure(figsize=_size(drawing.picture), layout="constrained"), io.BytesIO()
    FigureCanvasAgg(figure)
    dots = max(_LEAST_DOTS, drawing.picture.width / _INCHES)
    with matplotlib.rc_context(_STYLE):
        draw_into(figure.subplots(), drawing)
        figure.savefig(content, format=kind, dpi=dots, metadata=_METADATA[kind])
    write_whole(path, content.getvalue())
    return path


def _size(picture: Image.Image) -> tuple[float, float]:
    """Return the size in inches of a figure around a picture."""
    return _INCHES, _INCHES * picture.height / picture.width + _WORDS


def _bar(axes: "Axes", drawing: Drawing) -> None:
    """Draw the colour bar: the colours as they look on mid-grey, as in an overlay's legend."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    table = np.frombuffer(colours(drawing.colormap), np.uint8).reshape(256, 3) / 255
    opacity = np.array(opacity_of(drawing.alpha, signed=drawing.signed))[:, None] / 255
    shown = ScalarMappable(Normalize(0, 1), ListedColormap(table * opacity + 0.5 * (1 - opacity)))
    bar = axes.figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03, aspect=40)
    low, middle, high = drawing.legend.low, drawing.legend.middle, drawing.legend.high
    bar.set_ticks([0, 0.5, 1] if middle else [0, 1], labels=[low, middle, high] if middle else [low, high])
    bar.ax.tick_params(labelsize=8, length=2)
