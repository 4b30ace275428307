"""How much denser each tensor of a dilated network is, and the change that each layer needs for it."""

import math
import operator
from typing import Any, NoReturn

from torch import fx, nn

from camserve.errors import ModelError
from camserve.graph.receptive.step import Seen, Step
from camserve.graph.surgery.dry_run import RecordedWalk
from camserve.graph.surgery.kernels import Onto, Pair, kernel_of, place_convolution, place_padding, stride_of
from camserve.graph.surgery.pools import place_average_pool, place_max_pool
from camserve.graph.surgery.twin import put

_SAME: Pair = (1, 1)
_WINDOWS = {
    "Conv2d": place_convolution,
    "conv2d": place_convolution,
    "MaxPool2d": place_max_pool,
    "max_pool2d": place_max_pool,
    "AvgPool2d": place_average_pool,
    "avg_pool2d": place_average_pool,
}
_PADDINGS = {"ZeroPad2d", "ConstantPad2d", "pad"}
_ADAPTIVE = {"AdaptiveAvgPool2d", "adaptive_avg_pool2d", "AdaptiveMaxPool2d", "adaptive_max_pool2d"}
_REDUCTIONS = {"mean", "sum", "amax", "amin"}


class Lattices:
    """Visits the nodes of a walked graph in order and rewrites their copies in `made`.

    factors: for each node, how many times denser (y, x) its tensor is: dense[..., ::f, ::f] = original. None for
    a tensor without cells, or, after the layer, if the lattice is lost. exact: the nodes where it must not be lost.

    The stride J of an original tensor becomes gcd(J, output_stride). So the factor depends only on J, and branches with
    equal strides have equal factors. For strides that are powers of two, this is DeepLab's rule: strides up to the
    output stride are kept.
    """

    def __init__(
        self,
        walk: RecordedWalk,
        made: fx.GraphModule,
        copies: dict[fx.Node, fx.Node],
        output_stride: int,
        *,
        exact: set[fx.Node],
    ) -> None:
        self.walk, self.made, self.copies = walk, made, copies
        self.output_stride, self.exact = output_stride, exact
        self.factors: dict[fx.Node, Pair | None] = {}

    def visit(self, node: fx.Node) -> None:
        """Rewrite one node's copy. Raises ModelError if it has no dense equivalent and must be exact."""
        try:
            self.factors[node] = self._factor(node)
        except ModelError:
            if node in self.exact:
                raise
            self.factors[node] = None

    def _factor(self, node: fx.Node) -> Pair | None:
        if node.op == "placeholder":
            return _SAME
        sources = self.walk.sources(node)
        if self.walk.seen[node] is None or not sources:
            return None
        factor = self._common(node, sources)
        if factor is None:
            return None
        step = self.walk.steps[node]
        if step.name in _WINDOWS:
            return self._slide(node, step, factor)
        if factor == _SAME:
            return _SAME  # its inputs have not changed, so any operation is allowed
        if step.name in _PADDINGS:
            self._check_known(node, sources[0])
            place_padding(self.made, self.copies[node], step, Onto(factor, _SAME))
            return factor
        if self._pools_everything(node, step):
            return self._sample(node, factor)
        self._check_keeps(node, sources)
        return factor

    def _common(self, node: fx.Node, sources: list[fx.Node]) -> Pair | None:
        """The common factor of all inputs. A single cell for the whole map, such as a gain, fits any factor."""
        factors = {self.factors[source] for source in sources if not self._is_gain(source)}
        if len(factors) > 1 and None not in factors:
            self._refuse(node, "its inputs come from layers of different strides")
        return None if None in factors else next(iter(factors), _SAME)

    def _is_gain(self, node: fx.Node) -> bool:
        seen = self.walk.seen[node]
        return isinstance(seen, Seen) and seen.grid == (1, 1) and self.factors[node] in (None, _SAME)

    def _slide(self, node: fx.Node, step: Step, factor: Pair) -> Pair | None:
        """A convolution or pooling: it keeps a part of its stride, and the rest becomes dilation."""
        (source, *_) = self.walk.sources(node)
        self._check_known(node, source)
        stride, before = stride_of(step), self.walk.seen[source].field.stride[::-1]
        kept = self._kept(before[0], stride[0]), self._kept(before[1], stride[1])
        if factor == _SAME and kept == stride:
            return _SAME
        if node not in self.exact and self._is_whole(node, step):
            put(self.made, self.copies[node], nn.AdaptiveAvgPool2d(1), self.copies[source])
            return None
        try:
            _WINDOWS[step.name](self.made, self.copies[node], step, Onto(factor, kept))
        except ModelError as error:
            self._refuse(node, str(error))
        return factor[0] * stride[0] // kept[0], factor[1] * stride[1] // kept[1]

    def _kept(self, before: int, stride: int) -> int:
        return math.gcd(before * stride, self.output_stride) // math.gcd(before, self.output_stride)

    def _is_whole(self, node: fx.Node, step: Step) -> bool:
        """Whether it is an average over the whole map with a fixed kernel size, as in old classifiers."""
        return step.name in ("AvgPool2d", "avg_pool2d") and kernel_of(step) == tuple(step.value.shape[-2:])

    def _pools_everything(self, node: fx.Node, step: Step) -> bool:
        if step.name in _REDUCTIONS:
            (source,) = self.walk.sources(node)
            axes = getattr(self.walk.seen[source], "axes", None)
            return axes is not None and set(axes) <= set(step.dims(step.value.ndim))
        return step.name in _ADAPTIVE and tuple(step.result.shape[-2:]) == (1, 1)

    def _sample(self, node: fx.Node, factor: Pair) -> Pair | None:
        """A pooling over the whole map: before the layer it takes the original lattice, after it the dense map."""
        if node not in self.exact:
            return None
        copied = self.copies[node]
        source = copied.all_input_nodes[0]
        every = slice(None)
        lattice = every, every, slice(None, None, factor[0]), slice(None, None, factor[1])
        with self.made.graph.inserting_before(copied):
            sampled = self.made.graph.call_function(operator.getitem, (source, lattice))
        copied.replace_input_with(source, sampled)
        return _SAME

    def _check_known(self, node: fx.Node, source: fx.Node) -> None:
        if isinstance(self.walk.seen[node], tuple):
            self._refuse(node, "it returns several tensors, and the indices of a pooling refer to its original input")
        for place in (source, node):
            if not isinstance(self.walk.seen[place], Seen):
                self._refuse(node, f"where its cells lie is not known: {self.walk.seen[place]}")
        for before in node.all_input_nodes:
            number = self.walk.seen[before] is None and self.walk.shapes[before] == ()
            if number and before.op != "get_attr":
                self._refuse(node, f"'{before.name}' computes its window or padding, which differs for a dense map")

    def _check_keeps(self, node: fx.Node, sources: list[fx.Node]) -> None:
        """Raises ModelError if an operation on a dense map moves or mixes its cells."""
        given = [seen for source in sources for seen in _each(self.walk.seen[source]) if isinstance(seen, Seen)]
        for after in _each(self.walk.seen[node]):
            why = after if isinstance(after, str) else _moves(given, after, alone=len(sources) == 1)
            if why:
                self._refuse(node, why)

    def _refuse(self, node: fx.Node, why: str) -> NoReturn:
        raise ModelError(f"{self.walk.describe(node)} cannot be made dense: {why}")


def _each(seen: Any) -> tuple[Any, ...]:
    return seen if isinstance(seen, tuple) else (seen,)


def _moves(given: list[Seen], after: Seen, *, alone: bool) -> str:
    """What an operation does to the cells besides changing their values; "" if it only changes values."""
    if after.axes is None:
        return "its result has no grid of cells"
    if after.field.global_context and not any(seen.field.global_context for seen in given):
        return "it mixes all cells of the map, so more cells change its result"
    if after.field.stride not in [seen.field.stride for seen in given]:
        return "it changes the stride, and its effect on a denser map is not known"
    before = given[0].field
    shifted = (after.field.x.first, after.field.y.first) != (before.x.first, before.y.first)
    return "it cuts or shifts the map" if alone and (shifted or after.grid != given[0].grid) else ""
