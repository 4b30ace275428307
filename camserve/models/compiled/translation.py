"""Translates the graph of a model file, as OpenVINO reads it, operation by operation to a torch.fx graph.

A constant is folded as soon as all its inputs are constant. Sizes that a graph computes from its input size are
numbers and nodes (`Sizes`), so that the graph takes other sizes too. An operation without a rule raises Untranslatable:
nothing is guessed, and `camserve.models.compiled.of_files` compares the result with the file's own answers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from camserve.errors import first_line
from camserve.graph.cut import NAMED
from camserve.graph.trace import Graph, without_dead_code
from camserve.models.compiled.model_file import layer_names
from camserve.models.compiled.values import Result, Sizes, Untranslatable, Value, as_constant


class Operation(NamedTuple):
    """One operation of the file's graph.

    kind: OpenVINO's name of it. name: the file's own, usable in a path of modules. attributes: OpenVINO's.
    shapes: of its inputs, None for sizes that are not fixed; () also for inputs of unknown rank.
    """

    kind: str
    name: str
    attributes: dict[str, Any]
    shapes: tuple[tuple[int | None, ...], ...]


Rule = Callable[..., Result]
# Rules by kind of operation. SIZE_RULES: if one input is Sizes.
RULES: dict[str, Rule] = {}
SIZE_RULES: dict[str, Rule] = {}
# Other operations that take Sizes, as positions or as sizes.
_WITH_SIZES = ("Broadcast", "Tile", "Pad", "Interpolate")


def rule(*kinds: str, of: dict[str, Rule] = RULES) -> Callable[[Rule], Rule]:
    """Register a function (translation, operation, *inputs) -> result as the rule for these kinds."""

    def kept(function: Rule) -> Rule:
        of.update(dict.fromkeys(kinds, function))
        return function

    return kept


class Translation:
    """Builds a torch.fx graph. images: its input."""

    def __init__(self) -> None:
        self._root, self._graph = nn.Module(), fx.Graph()
        self.images = self._graph.placeholder("images")
        self._names = set[str]()

    def layer(self, operation: Operation, module: nn.Module, value: Value) -> Value:
        """Apply `module` to `value`, under the name of the operation in the file."""
        if isinstance(value, Tensor):
            with torch.no_grad():
                made: Tensor = module(value)
            return made
        name = self._added(operation.name, module.eval().requires_grad_(False))
        return self._graph.call_module(name, (self.as_node(value),))

    def called(self, operation: Operation, value: Result) -> Result:
        """`value`, with the name of the operation in the file, if the last step of the graph gives it."""
        is_step = isinstance(value, fx.Node) and value.op in ("call_function", "call_method")
        if is_step and value is next(reversed(self._graph.nodes)) and NAMED not in value.meta:
            value.meta[NAMED] = self._free(operation.name)
        return value

    def call(self, function: Callable[..., Any] | str, *arguments: Any, **named: Any) -> Value:
        """Call a function, or a method of the first argument; immediately if no argument depends on the images."""
        nodes: list[fx.Node] = []
        fx.map_arg((arguments, named), nodes.append)
        if not nodes:
            with torch.no_grad():
                at_once = getattr(torch.Tensor, function) if isinstance(function, str) else function
                return cast(Value, at_once(*arguments, **named))
        given = [self._as_node(one) if isinstance(one, Tensor) else one for one in arguments]
        if isinstance(function, str):
            return self._graph.call_method(function, tuple(given), named)
        return self._graph.call_function(function, tuple(given), named)

    def size(self, function: Callable[..., Any] | str, *arguments: Any) -> int | fx.Node:
        """Like `call`, for a result that is a whole number."""
        return cast(int | fx.Node, self.call(function, *arguments))

    def as_node(self, value: Value) -> fx.Node:
        """A value as part of the graph. Raises Untranslatable for sizes."""
        if isinstance(value, Sizes):
            raise Untranslatable("sizes are used as if they were values of the picture")
        return self._as_node(value) if isinstance(value, Tensor) else value

    def _as_node(self, constant: Tensor) -> fx.Node:
        name = self._free("constant")
        self._root.register_buffer(name, constant.clone())
        return self._graph.get_attr(name)

    def module_of(self, node: Value) -> nn.Module | None:
        """The layer that gives this node, if nothing else uses the node yet; None for other values."""
        if not isinstance(node, fx.Node) or node.op != "call_module" or node.users:
            return None
        return self._root.get_submodule(str(node.target))

    def finished(self, answer: Any) -> fx.GraphModule:
        """The finished graph with the output `answer`: a value, or values by name."""
        self._graph.output(answer)
        made = Graph(self._root, self._graph)
        without_dead_code(made)
        return made.eval()

    def _added(self, name: str, module: nn.Module) -> str:
        name = self._free(name)
        self._root.add_module(name, module)
        return name

    def _free(self, name: str) -> str:
        found = next(
            one for number in range(10**6) if (one := f"{name}_{number}" if number else name) not in self._names
        )
        self._names.add(found)
        return found


def translated(
    graph: Any, image: str, prepared: Callable[[Translation], Value]
) -> tuple[Translation, dict[str, Value]]:
    """Translate every operation of a graph, in order; return the translation and the results by name.

    image: the name of the input that takes images. prepared: turns the images (N, c, H, W) into the graph's input.
    Raises Untranslatable, which names the operation.
    """
    made, values, results = Translation(), dict[tuple[str, int], Value](), dict[str, Value]()
    names = layer_names(graph)
    for one in graph.get_ordered_ops():
        kind, name = one.get_type_name(), one.get_friendly_name()
        inputs = [values[_source(one.input(place))] for place in range(one.get_input_size())]
        if kind == "Parameter":
            if name != image:
                raise Untranslatable(f"it takes a second input, '{name}', besides images")
            found: Result = prepared(made)
        elif kind == "Constant":
            found = _constant(one)
        elif kind == "Result":
            results[name] = inputs[0]
            continue
        else:
            found = _ruled(made, one, kind, names[name], inputs)
        several = found if isinstance(found, tuple) else (found,)
        values.update({(name, place): value for place, value in enumerate(several)})
    return made, results


def _ruled(made: Translation, one: Any, kind: str, name: str, inputs: list[Value]) -> Result:
    shapes = tuple(_shape(one.get_input_partial_shape(place)) for place in range(len(inputs)))
    operation = Operation(kind, name, one.get_attributes(), shapes)
    found = SIZE_RULES.get(kind) if any(isinstance(value, Sizes) for value in inputs) else None
    if found is None and kind not in _WITH_SIZES:
        inputs = [as_constant(value) for value in inputs]
    found = found or RULES.get(kind)
    if found is None:
        raise Untranslatable(f"camserve has no rule for the operation {kind} ('{name}')")
    try:
        return made.called(operation, found(made, operation, *inputs))
    except Untranslatable as error:
        raise Untranslatable(f"operation {kind} ('{name}'): {error}") from None
    except (TypeError, ValueError, RuntimeError, IndexError, AssertionError, KeyError) as error:
        raise Untranslatable(
            f"operation {kind} ('{name}') is used in a way that camserve does not know: {first_line(error)}"
        ) from None


def _source(given: Any) -> tuple[str, int]:
    output = given.get_source_output()
    return output.get_node().get_friendly_name(), output.get_index()


def _constant(one: Any) -> Tensor:
    values = np.array(one.data)  # numpy's nearest type for bfloat16 and similar types
    return torch.from_numpy(values.astype(np.float32) if values.dtype == np.float16 else values)


def _shape(partial: Any) -> tuple[int | None, ...]:
    if partial.rank.is_dynamic:
        return ()
    return tuple(one.get_length() if one.is_static else None for one in partial)
