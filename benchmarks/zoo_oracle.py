"""Which layer is the right one to explain, and what Grad-CAM and HiResCAM are there, computed without camserve.

A layer is right if
    its cells lie over the image as the map says: each cell depends most on the image at its own place;
    most of its places have influence on the logits;
    no path from the image to the logits goes around it; with a class token, no path from a patch does;
    nothing between it and the last tensor with these properties mixes places: no convolution, no attention.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zoo_graph import Recording, Value
from zoo_layout import Layout, layouts

# In float32, a gradient below this share of the largest gradient counts as 0.
_NOTHING = 1e-7
# A norm over a whole map mixes places a little. If more than this share of the effect crosses, places are mixed.
_CROSSING = 0.1
# In standard deviations: cells at their true places stand out by five to eight.
_SURPRISE = 4


class Oracle:
    """network: the user's network, never run, frozen; it is run once. layer: camserve's name of the layer."""

    def __init__(self, network: nn.Module, image: Tensor, layer: str) -> None:
        self.recording = Recording(network, image, keep=layer)
        self.aspect = image.shape[-2] / image.shape[-1]
        logits = self.recording.logits
        self.score = (logits * torch.randn(logits.shape, generator=_seeded(3)).to(logits)).sum()
        self.named = self.recording.by_name.get(layer)
        self._placed: dict[tuple[Any, int, Layout], bool] = {}

    @property
    def logits(self) -> Tensor:
        """The logits, (C,)."""
        return self.recording.logits[0].detach()

    def fits_image(self, grid: tuple[int, int]) -> bool:
        """Whether a grid, (h, w), has several cells and the proportions of the image."""
        return min(grid) > 1 and abs(grid[0] - grid[1] * self.aspect) <= 1

    def maps(self, value: Value, layout: Layout, target: int) -> "Cams":
        """Return the maps of a class's logit at a tensor, by autograd."""
        (gradient,), _ = self.recording.gradients(self.recording.logits[0, target], [value])
        return cams(value, layout, gradient)

    def candidates(self, grid: tuple[int, int], target: int) -> list[tuple[Value, Layout, "Cams"]]:
        """Return the maps at every tensor with that grid, the last tensor first."""
        fitting = [
            (value, layout)
            for value in reversed(self.recording.values)
            if value.intact and self.recording.matters(value)
            for layout in layouts(tuple(value.tensor.shape), self.aspect, grid)
        ]
        gradients, _ = self.recording.gradients(self.recording.logits[0, target], [value for value, _ in fitting])
        pairs = zip(fitting, gradients, strict=True)
        return [(value, layout, cams(value, layout, one)) for (value, layout), one in pairs if one is not None]

    def judge(self, value: Value, layout: Layout) -> tuple[str, str]:
        """Return what is wrong with a tensor as the layer, "" if nothing is; and which is the last right tensor."""
        last = self._last(layout.grid)
        words = "none" if last is None else in_words(last[0])
        (gradient,), past = self.recording.gradients(self.score, [value], without=value)
        if gradient is None or influence(layout.cells(gradient)) < 0.5:
            return "most of its places have no influence on the logits", words
        if not self._in_place(value, layout):
            return "its cells do not lie over the image as the map says", words
        later = last is not None and self.recording.order[value.node] < self.recording.order[last[0].node]
        if past is None or not bool(past.any()):
            mixed = last is not None and not later and self._mixed(value, layout, *last)
            return f"places are mixed behind it, and not behind {words}" if mixed else "", words
        if last is not None and later and last[1].prefix and self._patches_pass(last, value):
            return "", words
        return "parts of the image reach the logits beside it", words

    def _last(self, grid: tuple[int, int]) -> tuple[Value, Layout] | None:
        """Return the last tensor that all paths pass, and whose places have influence and lie over the image."""
        cuts = [value for value in self.recording.values if self.recording.is_cut(value)]
        cuts.sort(key=lambda value: self.recording.order[value.node])
        gradients, _ = self.recording.gradients(self.score, cuts)
        for value, gradient in zip(cuts, gradients, strict=True):
            shape = tuple(value.tensor.shape)
            for layout in (*layouts(shape, self.aspect, grid), *layouts(shape, self.aspect)):
                reaches = gradient is not None and influence(layout.cells(gradient)) >= 0.5
                if reaches and value.intact and self._in_place(value, layout):
                    return value, layout
        return None

    def _in_place(self, value: Value, layout: Layout) -> bool:
        """Whether cells depend most on the image at their own places; at most nine cells are tested.

        An effect on all cells, such as from attention, says nothing about places, so it is subtracted. The energy at
        the right places is compared with that at shuffled places.
        """
        key = value.node, value.output, layout
        if key not in self._placed:
            chosen = [(down, across) for down in _spread(layout.grid[0]) for across in _spread(layout.grid[1])]
            energies = self._energies(layout.cells(value.tensor), chosen, layout.grid)
            self._placed[key] = energies is not None and len(chosen) > 1 and surprise(energies) > _SURPRISE
        return self._placed[key]

    def _energies(self, cells: Tensor, chosen: list[tuple[int, int]], grid: tuple[int, int]) -> Tensor | None:
        """Return how much each chosen cell depends on the image at each, (cells, cells); None if a cell does not."""
        weights = torch.randn(cells.shape[0], generator=_seeded(4))
        found = []
        for down, across in chosen:
            score = (cells[:, down, across] * weights).sum()
            (one,) = torch.autograd.grad(score, self.recording.image, retain_graph=True, allow_unused=True)
            if one is None or not bool(one.any()):
                return None
            found.append(one[0])
        own = torch.stack(found) - torch.stack(found).mean(0)
        energy = torch.nn.functional.adaptive_avg_pool2d(own.square().sum(1), grid)
        energy = energy / energy.sum((1, 2), keepdim=True).clamp(min=1e-30)
        return torch.stack([energy[:, down, across] for down, across in chosen], 1)

    def _mixed(self, value: Value, layout: Layout, last: Value, at_last: Layout) -> bool:
        """Whether a cell of `last` depends on several cells of `value`, through more than a norm or a pooling."""
        if value.node is last.node:
            return False
        crossing = 0.0
        if layout.grid == at_last.grid:
            down, across = layout.grid[0] // 2, layout.grid[1] // 2
            cell = at_last.cells(last.tensor)[:, down, across]
            weights = torch.randn(cell.shape, generator=_seeded(5))
            (gradient,), _ = self.recording.gradients((cell * weights).sum(), [value])
            energy = layout.cells(gradient).square().sum(0) if gradient is not None else torch.zeros(layout.grid)
            crossing = 1 - float(energy[down, across] / energy.sum().clamp(min=1e-30))
            if crossing < 1e-6:
                return False
        return crossing > _CROSSING or self._mixes(last, value)

    def _mixes(self, last: Value, value: Value) -> bool:
        """Whether a convolution of several pixels or attention lies between the two."""
        seen, waiting = {value.node}, [last.node]
        while waiting:
            node = waiting.pop()
            if node in seen or node not in self.recording.order:
                continue
            seen.add(node)
            name = node.name()
            weight = getattr(node, "_saved_weight", None) if name.startswith("Convolution") else None
            if name.startswith(("Bmm", "ScaledDot")) or (weight is not None and max(weight.shape[2:]) > 1):
                return True
            waiting += [after for after, _ in node.next_functions if after is not None]
        return False

    def _patches_pass(self, last: tuple[Value, Layout], value: Value) -> bool:
        """Whether the patches' tokens of `last` affect the logits only through `value`."""
        (gradient,), _ = self.recording.gradients(self.score, [last[0]], without=value)
        return gradient is None or not bool(last[1].cells(gradient).any())


@dataclass(frozen=True)
class Cams:
    """Grad-CAM and HiResCAM, (h, w), and the largest sum of absolute terms in a cell."""

    gradcam: Tensor
    hirescam: Tensor
    size: float


def cams(value: Value, layout: Layout, gradient: Tensor | None) -> Cams:
    """Compute both from activations A_k and gradients g_k: the sums over k of mean(g_k) A_k, and of g_k A_k."""
    activations = layout.cells(value.content)
    slopes = torch.zeros_like(activations) if gradient is None else layout.cells(gradient)
    weights = slopes.mean((1, 2), keepdim=True)
    size = float((weights * activations).abs().sum(0).max())
    return Cams((weights * activations).sum(0), (slopes * activations).sum(0), size)


def influence(gradient: Tensor) -> float:
    """Return the share of places (K, h, w) at which a gradient is not 0."""
    size = gradient.abs().sum(0)
    return float((size > _NOTHING * size.max()).float().mean()) if bool(size.max() > 0) else 0.0


def surprise(energies: Tensor) -> float:
    """Return how many standard deviations the diagonal's sum lies above the sums for shuffled columns.

    First, all rows and columns are scaled to the same sum: a place that affects every cell is not the place of one.
    """
    centred = energies.double().clamp(min=1e-30)
    for _ in range(5):
        centred = centred / centred.sum(0)
        centred = centred / centred.sum(1, keepdim=True)
    shuffles = torch.stack([torch.randperm(len(centred), generator=_seeded(one)) for one in range(500)])
    others = centred[torch.arange(len(centred)), shuffles].sum(1)
    return float((centred.diagonal().sum() - others.mean()) / others.std().clamp(min=1e-30))


def _seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _spread(count: int) -> list[int]:
    """Return the first, the middle and the last index."""
    return sorted({0, count // 2, count - 1})


def in_words(value: Value) -> str:
    """Return as text which tensor it is: the output of the outermost module, or the result of a function."""
    if value.names:
        return min(value.names, key=lambda name: (name.count("."), len(name)))
    return f"a result of {value.node.name()} {tuple(value.tensor.shape)}"
