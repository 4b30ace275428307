"""Every operation of model files: its rule answers as OpenVINO does, of graphs that OpenVINO's builders make."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("camserve.models.engines.openvino_quietly")
from exported import saved
from operation_cases import CASES, OPEN, numbers

from camserve.models.compiled import of_files
from camserve.models.compiled.model_file import core, read_model_file
from camserve.models.compiled.translation import RULES


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, place) for kind, made in CASES.items() for place in range(len(made))]
)
def test_an_operation_answers_as_openvino_does(kind: str, number: int, tmp_path: Path) -> None:
    path = saved(CASES[kind][number], tmp_path / "net.xml", (-1, 3, -1, -1) if kind in OPEN else (-1, 3, 10, 12))
    graph = read_model_file(path).graph
    assert kind in {node.get_type_name() for node in graph.get_ops()}, "simplified away: no case for its rule"
    images = torch.from_numpy(numbers(2, 3, 10, 12, seed=3))
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = np.concatenate([compiled([image[None].numpy()])[0] for image in images])
    found = of_files.build(path)(images).numpy().reshape(wanted.shape)
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def test_no_rule_is_without_a_case() -> None:
    assert set(CASES) == set(RULES)
