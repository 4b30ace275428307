"""Export: onnxruntime gives the logits and the class maps that camserve gives, or nothing is written."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import camserve
from camserve.cli import main
from camserve.errors import ModelError, OptionError
from camserve.images.reading import read_photo
from camserve.models import onnx_export as exporting
from camserve.models.inputs.preprocessing import to_input
from camserve.models.onnx_export import export

missing = [name for name in exporting.NEEDED if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(missing), reason=f"camserve[onnx] is not installed: {missing}")


class Small(nn.Module):
    """A convolution, and whatever head."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2, padding=1), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x))


class Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


def pooled(*head: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def answers(path: Path, images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": images}))


@needs_onnx
def test_the_embedded_model_answers_the_same_elsewhere(model: camserve.Model, cat: Path, tmp_path: Path) -> None:
    import onnxruntime

    file = tmp_path / "new" / "lite0.onnx"
    result = CliRunner().invoke(main, ["export", "efficientnet-lite0", str(file)])
    assert result.exit_code == 0, result.output
    assert "logits, class_maps of layer head" in result.output
    assert "any size" in result.output
    explanation = model.explain(cat)
    photo = read_photo(cat, max_pixels=10**7, max_side=10**4, max_bytes=10**7)
    images = to_input(photo, explanation.placement.frame, model.card.input).numpy()
    logits, maps = answers(file, images)
    np.testing.assert_allclose(logits[0], explanation.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(maps[0], model.class_maps(cat), rtol=1e-4, atol=1e-4)
    about = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).get_modelmeta()
    assert json.loads(about.custom_metadata_map["camserve.labels"]) == list(model.labels)
    assert json.loads(about.custom_metadata_map["camserve.card"])["input"]["size"] == 224


@needs_onnx
@pytest.mark.parametrize(
    ("head", "second", "channels"),
    [
        (pooled(nn.Linear(4, 5)), "class_maps", 5),
        (nn.Sequential(nn.Conv2d(4, 5, 1), *pooled()), "class_maps", 5),
        (pooled(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)), "activations", 4),
    ],
    ids=["linear", "class map", "mlp"],
)
def test_heads_with_and_without_a_class_map(head: nn.Module, second: str, channels: int, tmp_path: Path) -> None:
    model = camserve.load(Small(head), size=32)
    made = export(model, tmp_path / "net.onnx")
    assert made.outputs == ("logits", second)
    assert made.any_size
    assert made.difference < 1e-5
    images = torch.randn(2, 3, 40, 56)
    logits, maps = answers(made.path, images.numpy())
    _, _, expected = model.layer().observe(images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert maps.shape == (2, channels, 20, 28)


@needs_onnx
def test_what_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "AGREEMENT", -1)
    with pytest.raises(ModelError, match="onnxruntime differs from torch by"):
        export(camserve.load(Small(pooled(nn.Linear(4, 5))), size=32), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = camserve.load(Small(pooled(nn.Linear(4, 5))), size=32)
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(
        OptionError, match=r"exporting needs onnx, onnxruntime, onnxscript: pip install 'camserve\[onnx\]'"
    ):
        export(model, tmp_path / "net.onnx")


@needs_onnx
def test_a_network_whose_graph_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="torch.fx cannot trace this network"):
        export(camserve.load(Branching(pooled(nn.Linear(4, 5))), size=32), tmp_path / "net.onnx")
