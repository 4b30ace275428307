"""The Explanation: the numbers of an Attribution, together with the photograph."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.catalogue.options import OverlayOptions, takes
from camserve.catalogue.questions import Questions
from camserve.config.schema import Render
from camserve.errors import OptionError, shown
from camserve.explanation.attribution import Attribution
from camserve.explanation.class_scores import Answer
from camserve.explanation.live_canvas import STILL, widget_of
from camserve.explanation.manifest import facts_of, provenance_of
from camserve.explanation.matplotlib_axes import Drawing, draw_into, write_figure
from camserve.explanation.overlay_size import overlay_facts, overlay_size
from camserve.explanation.showing import show_picture
from camserve.geometry.frame import Placement
from camserve.geometry.laid import Laid
from camserve.geometry.smoothing import smoothed
from camserve.images.arrays.pixel_arrays import Pixels
from camserve.images.arrays.resampling import resample
from camserve.images.reading import Photo, encode
from camserve.render import overlay as render
from camserve.render.canvas import Canvas
from camserve.render.legend import Legend
from camserve.render.npy import npy_bytes, npy_in_pieces
from camserve.render.painting import ROOMY, Rows, checked_share, enlarged, enlargement
from camserve.render.polygons import Polygon
from camserve.render.regions import Box
from camserve.render.scale import Scale, scale_of
from camserve.system.files import given_path, write_all

if TYPE_CHECKING:
    from camserve.explanation.live_canvas import Widget
    from camserve.explanation.matplotlib_axes import Axes

__all__ = ["Answer", "Explanation"]

Float32 = npt.NDArray[np.float32]


class Evaluates(Protocol):
    """A model that can measure explanations that it made: `camserve.Model`."""

    def evaluate(
        self, explanation: "Explanation", metrics: Sequence[str] | None, inside: npt.NDArray[np.bool_] | None
    ) -> dict[str, float | None]:
        """See `camserve.model.Model.evaluate`."""
        ...


@dataclass(frozen=True, kw_only=True)
class _SaveOptions(OverlayOptions):
    facts: dict[str, Any] | None = None
    look: OverlayOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.look is not None and not isinstance(self.look, OverlayOptions):
            raise OptionError(f"look {shown(self.look)} is not an OverlayOptions")


@dataclass(frozen=True)
class _PlotOptions(OverlayOptions):
    ax: "Axes | None" = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation(Attribution):
    """Why a model gave its answer for one image: an Attribution with the pixels of the image.

    photo: the image, upright. style: how pictures look by default. other: the explanation of the second photograph, if
    this one explains why two photographs look alike.
    """

    photo: Photo
    style: Render = field(repr=False)
    other: "Explanation | None" = field(default=None, repr=False)

    @classmethod
    def of(cls, attribution: Attribution, photo: Photo, style: Render) -> "Explanation":
        """Make an Explanation of an attribution and the photograph that it was computed from."""
        found = {one.name: getattr(attribution, one.name) for one in fields(Attribution)}
        return cls(photo=photo, style=style, **found)

    @property
    def attribution(self) -> Attribution:
        """The numbers without the photograph."""
        return Attribution(**{one.name: getattr(self, one.name) for one in fields(Attribution)})

    @property
    def heatmap(self) -> Float32:
        """The heatmap in the original's pixels, float32 (H, W), 0..1; NaN where the model saw nothing.

        It is computed again at each access, 4 bytes per pixel. The model sees nothing outside its crop.
        """
        return self.heat_rows(0, self.photo.size[1])

    @takes(OverlayOptions)
    def overlay(self, look: OverlayOptions) -> Image.Image:
        """Draw the heatmap over the photograph, RGB at the original size. Raises UnknownName, OptionError.

        The picture is smaller if the photograph is larger than the setting render.max_side: see `overlay_size`.
        A photograph whose long side is less than `min_side`, or less than 256 pixels with a legend, is enlarged by a
        whole number: words need room. A legend that would hide more than a quarter of the picture stands below it.
        An option that you leave out comes from the model's settings.
        """
        return self.drawn(look)

    def drawn(self, look: OverlayOptions) -> Image.Image:
        """Do what `overlay` does; the options are one object."""
        return self.painted(look).image

    def painted(self, look: OverlayOptions, *, large: bool = False) -> Canvas:
        """Do what `drawn` does, and return a Canvas. large: enlarge a small photograph, as a legend does."""
        roomy = ROOMY if look.legend or large else 1
        factor = enlargement(self.size, max(roomy, look.min_side or 1))
        smaller = overlay_size(self.size, self.style.max_side)
        boxes = self.boxes(look.boxes) if look.boxes is not None else []
        photo: Pixels | Image.Image
        if smaller == self.size:
            photo = self.photo.in_full if factor == 1 else enlarged(self.photo.image, factor)
            placement, boxes = self.placement.enlarged(factor), [box.enlarged(factor) for box in boxes]
        else:
            photo = resample(self.photo.in_full, smaller, "bilinear")
            placement, boxes = self.placement.resized(smaller), [box.resized(self.size, smaller) for box in boxes]
        chosen = scale_of(self.map, self.unit, signed=look.signed, end=look.scale)
        shown = self._laid(chosen.share_of(self.map), placement, look)
        is_own = look.scale is None and not look.signed  # then colours and contour lines show the same shares
        return paint(
            photo,
            shown if is_own else self._laid(self._relative_map, placement, look),
            look,
            self.style,
            shown=shown,
            boxes=boxes,
            legend=self._legend(chosen) if look.legend else None,
        )

    def _laid(self, grid_map: Float32, placement: Placement, look: OverlayOptions) -> Laid:
        """Return a map as it is drawn, smoothed if the style is smooth. placement: where its cells lie."""
        if is_smooth(look, self.style):
            grid_map, placement = smoothed(grid_map, placement)
        return Laid(placement, grid_map)

    def drawn_rows(self, size: tuple[int, int], look: OverlayOptions) -> Rows:
        """Return the heat for a copy of the photograph of (w, h) pixels, see `camserve.render.painting`."""
        return self._laid(self._relative_map, self.placement.resized(size), look)

    @takes(OverlayOptions)
    def show(self, look: OverlayOptions) -> None:
        """Show the overlay with its legend: below the cell of a notebook, else in the system's viewer.

        Raises OptionError if there is no screen.
        """
        show_picture(self.drawn(replace(look, legend=True)))

    @takes(OverlayOptions)
    def widget(self, look: OverlayOptions) -> "Widget":
        """The page's live canvas for a notebook: class, opacity, colours and lines change without a call of Python.

        The options are how it looks at first; legend and min_side change nothing, since the widget has a scale of its
        own. What a reader chooses is in the widget's attributes, see `camserve.notebook.widget.Widget`. A photograph
        of more than 2**20 pixels is drawn smaller. Needs the extra `widget`. Raises OptionError where that is not
        installed, and where contour and boxes differ.
        """
        small = self.style.model_copy(update={"max_side": min(self.style.max_side or STILL, STILL)})
        still = replace(self, style=small)
        return widget_of(self, self.photo, look, self.style, lambda: still._png(look))

    def _png(self, look: OverlayOptions) -> bytes:
        return encode(self.drawn(replace(look, legend=True)), "png")

    @takes(_PlotOptions)
    def plot(self, options: _PlotOptions) -> "Axes":
        """Draw the overlay into axes of matplotlib, with a title and a colour bar, and return the axes.

        ax: by default the axes of a new pyplot figure. The legend is always drawn, as title and bar. Needs the extra
        `figures`. Raises OptionError if it is not installed.
        """
        return draw_into(options.ax, self._drawing(options))

    @takes(OverlayOptions)
    def save_figure(self, path: str | Path, look: OverlayOptions) -> Path:
        """Write the picture of `plot` to a file, as a figure for a paper, and return the path.

        path: ends with .svg or .pdf. Words stay text, and the photograph keeps its pixels. Needs the extra `figures`.
        Raises OptionError, OutputError.
        """
        return write_figure(path, self._drawing(look))

    def _drawing(self, look: OverlayOptions) -> Drawing:
        return Drawing(
            self.drawn(replace(look, legend=False)),
            self._legend(scale_of(self.map, self.unit, signed=look.signed, end=look.scale)),
            _colormap(look, self.style),
            self.style.alpha if look.alpha is None else look.alpha,
            look.signed,
        )

    def boxes(self, threshold: float | None = None) -> list[Box]:
        """Return boxes around connected heat of at least `threshold` of the maximum, original pixels, hottest first."""
        return self.boxes_at(self._share(threshold))

    def polygons(self, threshold: float | None = None) -> list[Polygon]:
        """Return the outlines of the regions of `boxes`, in the same order, with their holes."""
        return self.polygons_at(self._share(threshold))

    def _share(self, threshold: float | None) -> float:
        return self.style.threshold if threshold is None else checked_share("threshold", threshold)

    def _legend(self, scale: Scale) -> Legend:
        return Legend(self.in_short, *scale.words(self.map, self.unit))

    def heatmap_image(self) -> Image.Image:
        """Return the heatmap in 8 bits: L, or LA with alpha 0 where the model saw nothing."""
        return render.heat_image(self.heat_rows, self.photo.size)

    def heatmap_npy(self) -> Iterator[bytes]:
        """Yield the heatmap as a .npy file, float32 (H, W), in pieces: 50 megapixels need 200 MB at once."""
        return npy_in_pieces(self.heat_rows, self.photo.size)

    def mask_image(self, threshold: float | None = None) -> Image.Image:
        """Return a mask of the original's size, mode L: white where the heat reaches `threshold` of the maximum."""
        share = self._share(threshold)
        return render.mask_image(self.heat_rows, self.photo.size, threshold=share)

    def to_dict(
        self, *, top: int = 5, threshold: float | None = None, questions: Questions | None = None
    ) -> dict[str, Any]:
        """Return everything except pixels, ready for JSON: `map` as nested lists, numbers not rounded.

        top: how many classes. threshold: of the boxes and polygons. questions: places and regions to answer for, and
        whether to give polygons. A number that is not finite becomes None, because JSON cannot write it. Raises
        OptionError for a question that has no answer here.
        """
        share = self._share(threshold)
        facts = facts_of(self, self.photo, top, share, questions or Questions())
        facts |= overlay_facts(self.size, self.style.max_side)
        if self.other is not None:
            facts["other"] = self.other.to_dict(top=top, threshold=share)
        return facts

    def evaluate(
        self, model: "Evaluates", metrics: Sequence[str] | None = None, inside: npt.NDArray[np.bool_] | None = None
    ) -> dict[str, float | None]:
        """Measure this explanation with the model that made it, see `Model.evaluate`. It holds no network itself.

        metrics: names; None stands for the usual metrics. inside: bool (H, W), where the object is. Raises OptionError.
        """
        return model.evaluate(self, metrics, inside)

    def provenance(self) -> dict[str, Any]:
        """Return what is needed to make this explanation again, bit for bit."""
        return provenance_of(self, self.photo)

    @takes(_SaveOptions)
    def save(self, folder: str | Path, options: _SaveOptions) -> Path:
        """Write overlay.png, heatmap.png, heatmap.npy, map.npy and, last, manifest.json into `folder`.

        facts: the result of `to_dict`, for the manifest. look: all options of the overlay as one object. A second
        photograph has the first four files too, as other-overlay.png and so on. Either all files are written or none.
        Returns the folder. Raises OptionError, OutputError.
        """
        folder = given_path("folder", folder)
        look = options.look or options
        others = {} if self.other is None else self.other._files(look)
        manifest = json.dumps(options.facts or self.to_dict(), indent=1).encode()
        second = {f"other-{name}": content for name, content in others.items()}
        write_all(folder, {**self._files(look), **second, "manifest.json": manifest})
        return folder

    def _files(self, look: OverlayOptions) -> dict[str, bytes | Iterator[bytes]]:
        return {
            "overlay.png": encode(self.drawn(look), "png"),
            "heatmap.png": encode(self.heatmap_image(), "png"),
            "heatmap.npy": self.heatmap_npy(),
            "map.npy": npy_bytes(self.map),
        }

    def _repr_png_(self) -> bytes:
        """Show the overlay with its legend in notebooks."""
        return self._png(OverlayOptions())

    def __repr__(self) -> str:
        return (
            f"<camserve.Explanation {self.in_short} of {self.photo.name} "
            f"{' x '.join(map(str, self.size))} by {self.method} at {self.layer}>"
        )


def is_smooth(look: OverlayOptions, style: Render) -> bool:
    """Whether maps are drawn smoothly, without the corners of cells."""
    return style.smooth if look.smooth is None else look.smooth


def _colormap(look: OverlayOptions, style: Render) -> str:
    return look.colormap or (style.signed_colormap if look.signed else style.colormap)


def paint(
    photo: Pixels | Image.Image,
    rows: Rows,
    look: OverlayOptions,
    style: Render,
    *,
    shown: Rows | None = None,
    boxes: Sequence[Box] = (),
    legend: Legend | None = None,
) -> Canvas:
    """Paint heat on a photograph: an overlay, or a tile of a sheet. The result has the photograph's size.

    photo: the photograph, or a smaller copy. rows: its heat, see `camserve.render.painting`. look: the caller applies
    scale, boxes and legend. style: the defaults of `look`. shown: the values that the colours show, if they have
    another scale than `rows`.
    """
    return render.overlay(
        photo,
        rows,
        painted=shown,
        signed=look.signed,
        grey=look.grey,
        colormap=_colormap(look, style),
        alpha=style.alpha if look.alpha is None else look.alpha,
        contour=look.contour,
        boxes=boxes,
        legend=legend,
        native=style.native,
    )
