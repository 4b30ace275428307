"""Output and cost of each layer of a traced network, in the order of the graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import fx, nn

from camserve.geometry.receptive_field import Field
from camserve.graph.receptive.walk import NO_MAP, Fields
from camserve.models.inspection.cost import multiply_adds
from camserve.models.inspection.operation import Operation, Shape
from camserve.models.inspection.operation_names import kind_of

# Functions that return their input or facts about it. Rows for them would hide the others.
_SILENT = {
    "getitem", "getattr", "size", "contiguous", "clone", "detach", "to", "float", "type", "type_as", "expand",
    "expand_as",
}  # fmt: skip


@dataclass(frozen=True)
class InspectedLayer:
    """One layer, or one function between layers, for one image of the training size.

    name: for `--layer`. kind: in words; short: its name in a row with others, "" for norms, activations
    and other followers. output: shape without the image's own dimension, (C, h, w) for maps. field: the receptive
    field of a cell, None if it is unknown or the output is not a map; why_no_field says which.
    parameters: weights used here for the first time. macs: multiply-adds, see camserve.models.inspection.cost; None
    if the cost is unknown. inside: the blocks that contain it, outermost first.
    """

    name: str
    kind: str
    short: str
    output: Shape
    field: Field | None
    why_no_field: str
    parameters: int
    macs: int | None
    inside: tuple[str, ...] = ()

    @property
    def field_is_unknown(self) -> bool:
        """Whether the output is a map, but its receptive field is unknown."""
        return len(self.output) == 3 and self.why_no_field != "" and not self.why_no_field.startswith(NO_MAP)

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output": list(self.output),
            "receptive_field": None if self.field is None else field_dict(self.field),
            "why_no_receptive_field": self.why_no_field or None,
            "parameters": self.parameters,
            "macs": self.macs,
        }


def field_dict(field: Field) -> dict[str, Any]:
    """Size, stride and start in pixels, (x, y); size is None if a cell sees the whole image."""
    return {
        "size": None if field.global_context else list(field.size),
        "whole_image": field.global_context,
        "stride": list(field.stride),
        "start": list(field.start),
    }


def inspect_layers(graph: fx.GraphModule, fields: Fields) -> tuple[InspectedLayer, ...]:
    """Every layer and function of `graph`, at the size of `fields`."""
    blocks, counted = _Blocks(graph), set[int]()
    return tuple(
        _inspected(operation, fields, counted, blocks.of(operation.node)) for operation in operations(graph, fields)
    )


def operations(graph: fx.GraphModule, fields: Fields) -> Iterator[Operation]:
    """The operations that return a tensor, and the parameters used outside layers."""
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        operation = Operation(node, layer, fields.shapes)
        loose = node.op == "get_attr" and isinstance(_attribute(graph, str(node.target)), nn.Parameter)
        # functions without a tensor output ask for sizes; a layer with several outputs still computes
        gives = operation.output or layer is not None
        computes = node.op.startswith("call") and gives and operation.name not in _SILENT
        if loose or computes:
            yield operation


def _inspected(operation: Operation, fields: Fields, counted: set[int], inside: tuple[str, ...]) -> InspectedLayer:
    node, layer = operation.node, operation.layer
    kind, macs = kind_of(operation), multiply_adds(operation)
    weights = list(layer.parameters()) if layer is not None else []
    if node.op == "get_attr":
        weights = [_attribute(node.graph.owning_module, str(node.target))]
    return InspectedLayer(
        name=operation.path,
        kind=kind.full,
        short=kind.short or (kind.full if macs is None else ""),
        output=operation.output if node.op == "get_attr" else operation.output[1:],
        field=fields.get(node.name),
        why_no_field=fields.unknown.get(node.name, ""),
        parameters=sum(_once(weight, counted) for weight in weights),
        macs=macs,
        inside=inside,
    )


def _once(weight: nn.Parameter, counted: set[int]) -> int:
    """Its size, or 0 if another layer with the same weights has counted them."""
    known = id(weight) in counted
    counted.add(id(weight))
    return 0 if known else weight.numel()


def _attribute(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root


class _Blocks:
    """The blocks that contain a node: modules, except plain sequences of layers."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._stacks = {node: _stack(node) for node in graph.graph.nodes}
        # a subclass of Sequential is a block if it holds layers, and a stage if it holds blocks
        self._hold_more = {path for stack in self._stacks.values() for (path, _), _ in pairwise(stack)}

    def of(self, node: fx.Node) -> tuple[str, ...]:
        return tuple(path for path, kind in self._stacks[node] if not self._is_sequence(path, kind))

    def _is_sequence(self, path: str, kind: Any) -> bool:
        sequence = isinstance(kind, type) and getattr(kind, "forward", None) is nn.Sequential.forward
        return sequence and (kind is nn.Sequential or path in self._hold_more)


def _stack(node: fx.Node) -> list[tuple[str, Any]]:
    """(path, class) of the modules around a node, outermost first."""
    around = (node.meta.get("nn_module_stack") or {}).values()
    return [(path, kind) for path, kind in around if path and path != node.target]
