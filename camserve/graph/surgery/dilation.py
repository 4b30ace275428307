"""Stride to dilation: a denser map of the same features, without retraining.

Layers that would make the stride larger than the output stride get a smaller stride. All layers after them are dilated
instead, so that each weight meets the values that it was trained on. Sources: Chen et al., DeepLab (TPAMI 2018,
arXiv:1606.00915); Yu, Koltun and Funkhouser, Dilated Residual Networks (CVPR 2017, arXiv:1705.09914).
"""

import math
from collections.abc import Callable, Iterable

from torch import fx

from camserve.errors import ModelError, OptionError
from camserve.graph.cut import find_layer
from camserve.graph.receptive.walk import receptive_fields
from camserve.graph.surgery.dry_run import RecordedWalk, walk
from camserve.graph.surgery.lattice import Lattices
from camserve.graph.surgery.twin import finish, twin, up_to


def dilate(
    graph: fx.GraphModule, output_stride: int, input_size: tuple[int, int], *, layer: fx.Node | str, channels: int = 3
) -> fx.GraphModule:
    """A graph whose map at `layer` has a cell every `output_stride` pixels: dense[..., ::s, ::s] = original.

    s is the layer's stride divided by output_stride, which must divide it. input_size: (w, h) pixels, any size at which
    the network runs; the graph is right for every other size too. The equality holds to float precision, at odd and
    non-square sizes (test_surgery: test_dense_maps_hold_the_original_lattice), on every path to the layer:
    residual branches, grouped convolutions, max and average pools, ceil_mode, SAME padding. A pooling over the
    whole map before the layer, as in squeeze-excitation, uses only the cells of the original lattice, because all
    cells of the dense map would give other gains.

    The part after the layer is also dilated if possible, but it pools over the dense map, so its logits are close to
    the original's but not equal. Report logits from the original graph, and use the dense graph for the map. A head
    that flattens the map without pooling does not take a dense map; see `convolve_linear`.

    Raises UnknownName for a layer that does not exist, OptionError for an output stride that does not divide the
    layer's stride (and names those that do), ModelError if an operation before the layer has no dense equivalent.
    """
    walked = walk(graph, input_size, channels)
    node = layer if isinstance(layer, fx.Node) else find_layer(graph, layer)
    factor = _factor(graph, walked, node, output_stride)
    made, copies = twin(graph)
    lattices = Lattices(walked, made, copies, output_stride, exact=_needed(graph, node))
    for place in graph.graph.nodes:
        lattices.visit(place)
    if lattices.factors[node] != factor[::-1]:
        raise OptionError(
            f"layer {walked.describe(node)} cannot get more cells: an operation that is not a window made them, such "
            "as merging patches or pooling over the whole map; choose a layer before that operation"
        )
    _check(finish(made), copies[node], walked, node, output_stride)
    return made


def _factor(graph: fx.GraphModule, walked: RecordedWalk, node: fx.Node, output_stride: int) -> tuple[int, int]:
    """How much denser (x, y) the map becomes. Raises OptionError."""
    if node.graph is not graph.graph:
        raise OptionError(f"layer '{node.name}' is a node of another graph; give its name, or a node of this graph")
    seen = walked.seen[node]
    if isinstance(seen, str) or seen is None or isinstance(seen, tuple) or seen.axes is None:
        why = seen if isinstance(seen, str) else "its output is not a feature map"
        raise OptionError(f"layer {walked.describe(node)} has no map to make dense: {why}; choose an earlier layer")
    across, down = seen.field.stride
    common = math.gcd(across, down)
    if output_stride < 1 or common % output_stride:
        possible = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
        raise OptionError(
            f"output_stride {output_stride} does not divide {common}, the stride of layer "
            f"{walked.describe(node)}; allowed are {possible}"
        )
    return across // output_stride, down // output_stride


def _needed(graph: fx.GraphModule, node: fx.Node) -> set[fx.Node]:
    """The nodes before the layer that the layer or the part after it uses: there the dense map must be exact."""
    (output,) = graph.graph.find_nodes(op="output")
    after = _reach([node], lambda place: place.users) - {node}
    return _reach([node, output], lambda place: place.all_input_nodes) - after - {output}


def _reach(start: list[fx.Node], onward: Callable[[fx.Node], Iterable[fx.Node]]) -> set[fx.Node]:
    found, waiting = set(start), list(start)
    while waiting:
        new = set(onward(waiting.pop())) - found
        found |= new
        waiting += new
    return found


def _check(made: fx.GraphModule, copied: fx.Node, walked: RecordedWalk, node: fx.Node, output_stride: int) -> None:
    """Compare the stride and size of the dense map with the original's, by receptive-field arithmetic.

    A network with a fixed size, as in view(-1, 64, 7, 7), may run on a dense map and give wrong values.
    """
    seen, name = walked.seen[node], copied.name
    try:
        fields = receptive_fields(up_to(made, copied), walked.image.grid, channels=walked.channels)
    except ModelError as error:
        raise ModelError(f"layer {walked.describe(node)} cannot be made dense: {error}") from None
    grid, stride = fields.grids.get(name, (0, 0)), fields[name].stride if name in fields else None
    original = tuple(-(-cells * output_stride // step) for cells, step in zip(grid, seen.field.stride, strict=True))
    if stride != (output_stride, output_stride) or original != seen.grid:
        raise ModelError(
            f"layer {walked.describe(node)} cannot be made dense: the network seems to contain a fixed size, because "
            f"{seen.grid[0]} x {seen.grid[1]} cells became {grid[0]} x {grid[1]}. Leave output_stride out"
        )
