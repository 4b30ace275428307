"""The receptive field of every feature map of a traced network, at one size of its input.

The graph runs once, on an empty image; beside each tensor travels what its cells have seen, changed by one rule
per kind of operation. What is in no rule is not guessed: its field, and that of all that follows, is
unknown, with the reason in words.
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

# How the reason begins where a tensor has no places at all.
NO_MAP = "it is no map"


class Fields(dict[str, Field]):
    """Receptive fields by fx node name, for every node whose output is a feature map.

    Those are maps (N, C, h, w) and, in networks that keep channels last, (N, h, w, C).
    grids: node name -> (w, h) cells. shapes: node name -> shape of its output, () where that is no tensor; the
    graph's answer is there as "output". unknown: node name -> why it has no field. layers: name of a layer or of
    a container, as in `named_modules` -> the node of its last output.
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
        """The field of a layer's last output. Raises UnknownName, and OptionError where it has no field."""
        if name not in self.layers:
            raise UnknownName("layer", name, self.layers)
        return self[self.layers[name]]


def receptive_fields(graph: fx.GraphModule, input_size: tuple[int, int], *, channels: int = 3) -> Fields:
    """What the cells of every feature map of `graph` can have seen of an input of (w, h) pixels.

    graph: in evaluation mode. It runs once on an empty image, where its parameters are: on the CPU that costs
    one forward pass, less than the imports that a first run on the meta device sets off; a network made on the
    meta device runs there. Raises ModelError where it does not run at that size.
    """
    walk = Walk(graph, input_size, channels)
    walk.run_empty()
    return walk.fields()


class Walk(fx.Interpreter):
    """Runs a graph and keeps what the output of each node has seen of an image of (w, h) pixels and some channels.

    seen: of each node a Seen, a tuple of them, the reason why it is not known, or None for what saw nothing of the
    image, such as sizes. shapes: of each node, for one image; () where it is no tensor.
    """

    def __init__(self, graph: fx.GraphModule, input_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__(graph)
        self.channels = channels
        self.extra_traceback = False  # it would be added to the message of our own error
        self.image = Seen(whole_image(*input_size), input_size)
        self.seen: dict[fx.Node, Any] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_empty(self) -> None:
        """Run on an empty image, where the parameters are. Raises ModelError where the graph does not take its size."""
        width, height = self.image.grid
        first = next((p for p in self.module.parameters() if p.is_floating_point()), torch.empty(0))
        with torch.no_grad():
            self.run(torch.zeros(1, self.channels, height, width, dtype=first.dtype, device=first.device))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        # forward, not a call: hooks that a user has set are for the user's own images
        return self.fetch_attr(target).forward(*args, **kwargs)

    def run_node(self, n: fx.Node) -> Any:
        try:
            result = super().run_node(n)
        except Exception as error:  # whatever a layer raises at a size it does not take
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
        """What was found, by name."""
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
    """The receptive field of a node by how many pixels larger than `trained`, (w, h), the input is each way.

    None where it is not known. Only SAME padding makes it depend on the size, and does so through the size modulo the
    stride: callers ask for few sizes, and each answer is kept. kept: those known already.
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
