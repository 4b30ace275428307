"""The receptive field of every feature map of a traced network, at one size of its input.

The graph runs once, on an empty image. The receptive fields of each tensor are computed along with it, with one rule
for each kind of operation. Nothing is guessed: the field of an operation without a rule, and of everything after it, is
unknown, and the reason is kept.
"""

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, fx

from camserve.errors import ModelError, OptionError, UnknownName, first_line
from camserve.geometry.receptive_field import Field, whole_image
from camserve.graph.receptive.rules import rule_of
from camserve.graph.receptive.step import NotKnown, Seen, Step

# The beginning of the reason for a tensor without places.
NO_MAP = "it is not a map"


class Fields(dict[str, Field]):
    """Receptive fields by fx node name, for every node whose output is a feature map.

    Feature maps are (N, C, h, w) and, in networks with channels last, (N, h, w, C).
    grids: node name -> (w, h) cells. shapes: node name -> shape of its output, () if it is not a tensor; the
    graph's answer has the name "output". unknown: node name -> why it has no field. layers: name of a layer or
    container, as in `named_modules` -> the node of its last output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grids: dict[str, tuple[int, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.unknown: dict[str, str] = {}
        self.layers: dict[str, str] = {}

    def __missing__(self, node: str) -> NoReturn:
        if node in self.unknown:
            why = f"{self.unknown[node]}; choose a layer before it"
            raise OptionError(f"the receptive field of {node!r} is not known: {why}")
        raise UnknownName("node", node, self)

    def layer(self, name: str) -> Field:
        """The field of a layer's last output. Raises UnknownName, and OptionError if it has no field."""
        if name not in self.layers:
            raise UnknownName("layer", name, self.layers)
        return self[self.layers[name]]


def receptive_fields(graph: fx.GraphModule, input_size: tuple[int, int], *, channels: int = 3) -> Fields:
    """The receptive fields of every feature map of `graph` in an input of (w, h) pixels.

    graph: in evaluation mode. It runs once on an empty image, on the device of its parameters. On the CPU this costs
    one forward pass, which is less than the imports of a first run on the meta device. Raises ModelError if the graph
    fails at this size.
    """
    walk = Walk(graph, input_size, channels)
    walk.run_empty()
    return walk.fields()


class Walk(fx.Interpreter):
    """Runs a graph and keeps the receptive fields of each node's output in an image of (w, h) pixels and some channels.

    seen: for each node a Seen, a tuple of them, the reason why it is not known, or None if the node does not depend on
    the image's values (sizes, for example). shapes: for each node, for one image; () if its output is not a tensor.
    """

    def __init__(self, graph: fx.GraphModule, input_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__(graph)
        self.channels = channels
        self.extra_traceback = False  # torch.fx would add it to the message of our error
        self.image = Seen(whole_image(*input_size), input_size)
        self.seen: dict[fx.Node, Any] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_empty(self) -> None:
        """Run on an empty image, on the device of the parameters. Raises ModelError if the graph fails at this size."""
        width, height = self.image.grid
        first = next((p for p in self.module.parameters() if p.is_floating_point()), torch.empty(0))
        with torch.no_grad():
            self.run(torch.zeros(1, self.channels, height, width, dtype=first.dtype, device=first.device))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        # calls forward directly, because a user's hooks are for the user's own images
        return self.fetch_attr(target).forward(*args, **kwargs)

    def run_node(self, n: fx.Node) -> Any:
        try:
            result = super().run_node(n)
        except Exception as error:  # a layer may raise anything at a size that it does not take
            width, height = self.image.grid
            reason = first_line(error)
            raise ModelError(
                f"the network fails on an input of {width} x {height} pixels, at {n.name!r}: {reason}"
            ) from None
        self.seen[n] = self._look(n, result)
        self.shapes[n] = tuple(result.shape) if isinstance(result, Tensor) else ()
        return result

    def _look(self, node: fx.Node, result: Any) -> Any:
        results = result if isinstance(result, tuple | list) else [result]
        if node.op == "output" or not any(isinstance(value, Tensor) for value in results):
            return None
        if node.op == "placeholder":
            return self.image
        inputs = [self.seen[before] for before in node.all_input_nodes if self.seen[before] is not None]
        if inputs and node.target is operator.getitem and isinstance(inputs[0], tuple):
            return inputs[0][node.args[1]]  # type: ignore[index]
        flat = [seen for several in inputs for seen in (several if isinstance(several, tuple) else [several])]
        reason = next((seen for seen in flat if isinstance(seen, str)), None)
        return reason or (self._passed_on(node, flat, result) if flat else None)

    def _passed_on(self, node: fx.Node, seen: list[Seen], result: Any) -> Any:
        target = self.fetch_attr(str(node.target)) if node.op == "call_module" else node.target
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        try:
            name, rule = rule_of(target)
            after = rule(Step(name, target, args, kwargs, seen, result))
        except NotKnown as reason:
            return f"{reason} (node {node.name!r})"
        several = isinstance(result, tuple | list) and not isinstance(after, tuple)
        return (after,) * len(result) if several else after

    def fields(self) -> Fields:
        """The results by name."""
        fields = Fields()
        fields.shapes = {node.name: shape for node, shape in self.shapes.items()}
        for node, seen in self.seen.items():
            if seen is None:
                continue
            if isinstance(seen, Seen) and seen.axes and len(self.shapes[node]) == 4:
                fields[node.name], fields.grids[node.name] = seen.field, seen.grid
            else:
                fields.unknown[node.name] = seen if isinstance(seen, str) else self._no_map(node)
            paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            fields.layers |= dict.fromkeys(paths, node.name)
        return fields

    def _no_map(self, node: fx.Node) -> str:
        shape = self.shapes[node]
        return f"{NO_MAP} (N, C, h, w) but {('N', *shape[1:]) if shape else 'several tensors'}"


def field_by_side(
    graph: fx.GraphModule, node: str, trained: tuple[int, int], kept: dict[int, Field | None], channels: int = 3
) -> Callable[[int], Field | None]:
    """A function from a number of pixels to the receptive field of a node on an input that is so much larger.

    The input is larger than `trained` (w, h) by this number in both directions. The field is None if it is not known.
    It depends on the size only with SAME padding, through the size modulo the stride, so callers need few sizes and
    results are kept. kept: the results that are already known.
    """
    fixed = not any(hasattr(part, "same_padding") for part in graph.modules())

    def field(more: int) -> Field | None:
        if fixed and kept:
            return next(iter(kept.values()))
        if more not in kept:
            fields = receptive_fields(graph, (trained[0] + more, trained[1] + more), channels=channels)
            kept[more] = fields.get(node)
        return kept[more]

    return field
