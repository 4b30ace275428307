"""From a model file to a network with the same answers: its graph as torch.fx, compared with OpenVINO.

    read_model_file -> translated -> compared with the file's own answers -> nn.Module

With the graph in torch, everything works as for any other network: camserve finds the layer, recognises the head,
places the cells by receptive fields and computes gradients. Other engines run its two halves as for every network.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import fx, nn

from camserve.errors import ModelError
from camserve.models.compiled import (  # noqa: F401 - they register their rules
    axis_ops,
    element_ops,
    layer_ops,
    shape_ops,
    size_ops,
    sum_ops,
)
from camserve.models.compiled.held_against import INSTEAD, check
from camserve.models.compiled.model_file import ModelFile, read_model_file
from camserve.models.compiled.translation import Translation, translated
from camserve.models.compiled.values import Untranslatable, Value

# Ways to read a graph, tried in turn if it cannot be translated for any size and number of images: the size (w, h) to
# fix it to, and whether to fix it to one image. Its size arithmetic is then constant; `check` tries other sizes, too.
_WAYS = ((None, False), (None, True), ((224, 224), False), ((224, 224), True))


def build(path: Path) -> nn.Module:
    """The network in a file, images float32 (N, c, H, W) -> its answer. Raises ModelError, NotInstalled."""
    first: Untranslatable | None = None
    whole = file = read_model_file(path)
    for fixed, alone in _WAYS:
        file = file if (fixed, alone) == _WAYS[0] else read_model_file(path, fixed, alone=alone)
        try:
            module = _translated(file)
        except Untranslatable as error:
            first = first or error
        else:
            check(path, whole, module)
            return module
    raise ModelError(f"'{path}' cannot be explained: {first}. {INSTEAD}")


def _translated(file: ModelFile) -> nn.Module:
    made, results = translated(file.graph, file.image, lambda made: _prepared(made, file))
    return made.finished(_answer(made, file, results))


def _prepared(made: Translation, file: ModelFile) -> Value:
    """The images in the form that the file takes; a graph for one image fails on more."""
    value: Value = made.images
    if file.is_alone:
        value = made.call("reshape", value, (1, *(made.size("size", value, axis) for axis in (1, 2, 3))))
    if file.is_last:
        value = made.call("permute", value, (0, 2, 3, 1))
    return value


def _answer(made: Translation, file: ModelFile, results: dict[str, Value]) -> fx.Node | dict[str, fx.Node]:
    """One value, or several by their names in the file; (N, C, 1, 1) becomes logits (N, C)."""
    found = dict[str, fx.Node]()
    for output in file.graph.outputs:
        node = made.as_node(results[output.get_node().get_friendly_name()])
        shape = output.get_partial_shape()
        ones = (
            shape.rank.is_static
            and len(shape) == 4
            and all(one.is_static and one.get_length() == 1 for one in list(shape)[2:])
        )
        name = min(output.get_names(), key=len, default=output.get_node().get_friendly_name())
        found[name] = made.as_node(made.call(torch.flatten, node, 1)) if ones else node
    return next(iter(found.values())) if len(found) == 1 else found
