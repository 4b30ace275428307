"""Changes int8 networks whose inputs and outputs are whole numbers, so that they take and give real values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

# Operations that do not change numbers.
MOVING = ("Convert", "Transpose", "Reshape", "Squeeze", "Unsqueeze")


def take_floats(graph: openvino.Model, image: openvino.Output) -> None:
    """Make an input of whole numbers take the real values that they encode, if the graph states their scale."""
    scaled = _scaled_first(image) if is_whole(image) else None
    if scaled is not None:
        for low, meant in ((1, 3), (2, 4)):
            scaled.input(low).replace_source_output(scaled.input_value(meant))
        image.get_node().set_element_type(scaled.get_output_element_type(0))
        graph.validate_nodes_and_infer_types()


def give_floats(graph: openvino.Model) -> None:
    """Make the graph return its logits, or their probabilities, before rounding.

    Rounding also clips values beyond the largest one of the calibration: then no change of the image could raise
    its strongest answer.
    """
    for result in graph.get_results():
        given = result.input_value(0).get_node()
        if given.get_type_name() == "Convert" and is_whole(given.output(0)):
            result.input(0).replace_source_output(given.input_value(0))
        last = _before_rounding(result)
        if last.get_type_name() in ("Softmax", "LogSoftmax", "Sigmoid"):
            _before_rounding(last)
    graph.validate_nodes_and_infer_types()


def is_whole(value: openvino.Output) -> bool:
    """Whether its type is a whole number of 8 bits."""
    return value.get_element_type().get_type_name() in ("u8", "i8")


def _before_rounding(node: openvino.Node) -> openvino.Node:
    """The operation before `node`, after removing the rounding between them."""
    given = node.input_value(0).get_node()
    if given.get_type_name() == "FakeQuantize":
        node.input(0).replace_source_output(given.input_value(0))
        return _before_rounding(node)
    return _before_rounding(given) if given.get_type_name() in MOVING else given


def _scaled_first(value: openvino.Output) -> openvino.Node | None:
    """The operation that decodes numbers of 8 bits, if it is the first one applied to the value; else None."""
    while True:
        users = list(value.get_target_inputs())
        node = users[0].get_node() if len(users) == 1 else None
        if node is None or node.get_type_name() not in (*MOVING, "FakeQuantize"):
            return None
        if node.get_type_name() == "FakeQuantize":
            return node
        value = node.output(0)
