"""One layer of a model, ready to be looked at: cut, its head recognised, its cells placed."""

import math

import torch
from torch import fx, nn

from camserve.cut import cut, shortest_name
from camserve.engines import TorchEngine
from camserve.errors import ModelError, OptionError
from camserve.frame import Frame, Placement
from camserve.heads import Head
from camserve.receptive import Field, Fields, receptive_fields
from camserve.recognise import head_of

# Float32 sums of some thousand terms agree to about 1e-5 of their size; ten times that is a real difference.
COMPLETENESS_TOLERANCE = 1e-4


class Layer:
    """A layer at which a model is cut.

    name: as the user knows it. engine: runs what comes before, head: what comes after. trained: the side of the
    square input the model was trained at, pixels.
    """

    def __init__(self, graph: fx.GraphModule, name: str, trained: int, at_trained: Fields) -> None:
        halves = cut(graph, name)
        shape = at_trained.shapes[halves.node.name]
        if len(shape) != 4:
            raise OptionError(
                f"layer '{name}' gives a tensor of shape {shape}, not feature maps (N, K, h, w); try one before"
            )
        self.name, self.trained = name, trained
        self.engine = TorchEngine(halves.body)
        self.head = self._checked(head_of(halves.head))
        self._graph, self._node = graph, halves.node.name
        self._cells = shape[-1], shape[-2]
        self._padding_depends_on_size = any(hasattr(part, "same_padding") for part in graph.modules())
        self._fields: dict[int, Field] = {0: at_trained[self._node]}

    def _checked(self, head: Head) -> Head:
        """`head`, or the same without closed forms where its maps do not account for its logits.

        Such a head only looks linear, so autograd gives what is true of it.
        """
        noise = torch.randn(1, 3, self.trained, self.trained, generator=torch.Generator().manual_seed(0))
        activations, carried = self.engine(noise)
        accounted = head.accounted(activations, slice(None))
        if accounted is None:
            return head
        logits = head.logits(activations, carried)
        missing = float((accounted - logits).abs().max())
        holds = missing <= COMPLETENESS_TOLERANCE * max(1.0, float(logits.abs().max()))
        return head if holds else Head(head.module)

    def placement(self, frame: Frame, grid: tuple[int, int]) -> Placement:
        """Where the cells of this layer sit in a photograph: the true stride and the centred offset.

        offset = ((S - 1) - (n - 1) J) / 2 at the size S the model was trained at, where its n cells are centred,
        plus what the padding moves the receptive fields by between that size and this one.
        """
        stride = self._fields[0].stride

        def offset(axis: int) -> float:
            centred = ((self.trained - 1) - (self._cells[axis] - 1) * stride[axis]) / 2
            moved = self._field(frame.input[axis]).start[axis] - self._fields[0].start[axis]
            return centred + moved

        return Placement(frame, grid, stride, (offset(0), offset(1)))

    def _field(self, side: int) -> Field:
        """The receptive field on an input of `side` pixels, as far as where its cells start.

        SAME padding, the only kind that depends on the size, does so through the size modulo the stride; so one
        field per remainder is computed, and kept, whatever sizes come in.
        """
        if not self._padding_depends_on_size:
            return self._fields[0]
        remainder = (side - self.trained) % math.lcm(*(int(step) for step in self._fields[0].stride))
        if remainder not in self._fields:
            size = self.trained + remainder
            self._fields[remainder] = receptive_fields(self._graph, (size, size))[self._node]
        return self._fields[remainder]


def last_feature_map(graph: fx.GraphModule, fields: Fields, model: str) -> str:
    """The layer to look at when none is named: the last that still has places, before pooling to a fixed grid.

    AlexNet and VGG pool to 6 x 6 or 7 x 7 before their fully connected layers; the maps before that keep the
    network's stride at any size. Raises ModelError where there is none.
    """
    for node in reversed(graph.graph.nodes):
        shape = fields.shapes[node.name]
        if len(shape) == 4 and shape[-1] * shape[-2] > 1 and not _pools_to_fixed_grid(graph, node):
            return shortest_name(graph, node)
    raise ModelError(f"'{model}' has no feature maps (N, K, h, w) with more than one cell; name a layer yourself")


def _pools_to_fixed_grid(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    return node.target in (nn.functional.adaptive_avg_pool2d, nn.functional.adaptive_max_pool2d)
