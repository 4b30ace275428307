"""Compare the layer that camserve chose, and its maps there, with the oracle."""

import copy
from typing import Any

from torch import nn
from zoo_graph import Value
from zoo_layout import Layout, layouts
from zoo_oracle import Cams, Oracle, in_words
from zoo_row import Row, maps_agree, picture, pixels_of

import camserve

# Words of warnings about a layer that is not the last possible one, or whose places are not certain.
PARTLY = ("several branches", "cannot tell where in the image", "cannot check where", "changes at another")

Place = tuple[Value, Layout]


class LayerCheck:
    """row: holds the results. network: the user's network, never run. ours: explanations by method.

    own: the explanation whose layer is checked, of a `picture` of the input's size. where: "" or that size. Raises the
    network's own errors at that size.
    """

    def __init__(
        self, row: Row, network: nn.Module, own: camserve.Explanation, ours: dict[str, Any], where: str = ""
    ) -> None:
        self.row, self.own, self.ours, self._network = row, own, ours, network
        self.oracle = self._oracle()
        self.target, self.name = own.class_index, f"layer '{own.layer}'{where}"

    def _oracle(self, *, double: bool = False) -> Oracle:
        network, pixels = copy.deepcopy(self._network).requires_grad_(False), pixels_of(picture(*self._size))
        return (
            Oracle(network.double(), pixels.double(), self.own.layer)
            if double
            else Oracle(network, pixels, self.own.layer)
        )

    @property
    def _size(self) -> tuple[int, int]:
        return self.own.placement.frame.input

    def run(self) -> None:
        """Find the tensor of the maps, and judge it."""
        height, width = self.own.map.shape
        if not self.oracle.fits_image((height, width)):
            self.row.wrong(f"{self.name}: its grid of {width} x {height} cells is not of the image's proportions")
            return
        place = self._by_name() or self._by_map() or self._by_name(rounded=True)
        if place is None:
            what = "its maps are those of no tensor of the network" if self.ours else "no map to find it by"
            windows = any("mean over windows" in warning for warning in self.own.warnings)  # another network, and said
            (self.row.wrong if self.ours and not windows else self.row.note)(f"{self.name}: {what}")
            return
        wrong, last = self.oracle.judge(*place)
        said = any(word in warning for warning in self.own.warnings for word in PARTLY)
        if wrong and not said:
            self.row.wrong(f"{self.name}: {wrong}; the last right one is {last}")
        elif wrong:
            self.row.note(f"said by camserve: {wrong}")

    def _by_name(self, *, rounded: bool = False) -> Place | None:
        """Return the module of that name, if Grad-CAM and HiResCAM by autograd at its output equal camserve's.

        rounded: allow for the network's own rounding error in float32, measured with double precision.
        """
        value = self.oracle.named
        if value is None or not self.oracle.recording.matters(value):
            return None
        double = self._oracle(double=True) if rounded else None
        for layout in layouts(tuple(value.tensor.shape), self.oracle.aspect, self.own.map.shape):
            maps = self.oracle.maps(value, layout, self.target)
            exact = double.maps(double.named, layout, self.target) if double and double.named else None
            if self._agree(maps, exact):
                self.row.note("magnifies rounding errors" if rounded else "")
                return value, layout
        return None

    def _by_map(self) -> Place | None:
        """Return the last tensor whose maps equal camserve's, for names that are not a module's."""
        if not self.ours:
            return None
        for value, layout, maps in self.oracle.candidates(self.own.map.shape, self.target):
            if self._agree(maps):
                if self.oracle.named is not None:
                    self.row.wrong(f"maps are those of {in_words(value)}, not of {self.name}")
                self.row.note(f"found by its map: {in_words(value)}")
                return value, layout
        return None

    def rounding(self) -> float:
        """The rounding error of the network's own Grad-CAM in float32, as a share of its peak."""
        value, double = self.oracle.named, self._oracle(double=True)
        for layout in layouts(tuple(value.tensor.shape), self.oracle.aspect, self.own.map.shape) if value else ():
            if double.named is not None:
                exact = double.maps(double.named, layout, self.target).gradcam
                ours = self.oracle.maps(value, layout, self.target).gradcam
                return float((ours - exact).abs().max() / exact.abs().max().clamp(min=1e-30))
        return 0.0

    def _agree(self, theirs: Cams, exact: Cams | None = None) -> bool:
        """Whether the maps equal camserve's, as far as camserve gave maps."""
        return all(
            maps_agree(
                made.map,
                getattr(theirs, method),
                theirs.size,
                0.0 if exact is None else float((getattr(theirs, method) - getattr(exact, method)).abs().max()),
            )
            for method, made in self.ours.items()
        )
